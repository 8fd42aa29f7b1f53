//! The skills there are. Adding one is a file beside this one and two lines here.

use std::sync::Arc;

use super::{
    Contract, Skill, address_guard::AddressRules, calendar_write::CalendarWrite, email_send::EmailSend,
    http_call::HttpCall, json_transform::JsonTransform, kv_store::KvStore, llm_invoke::LlmInvoke,
    postgres_query::PostgresQuery, slack_send::SlackSend, voyage_embed::VoyageEmbed, webhook_send::WebhookSend,
};

/// Every skill by its name.
pub struct Registry {
    skills: Vec<Box<dyn Skill>>,
}

impl Registry {
    /// All skills. Plans are checked against `rules`; a call is checked again, against the rules of its services.
    pub fn new(rules: Arc<AddressRules>) -> Self {
        Self {
            skills: vec![
                Box::new(CalendarWrite),
                Box::new(EmailSend),
                Box::new(HttpCall::new(Arc::clone(&rules))),
                Box::new(JsonTransform),
                Box::new(KvStore),
                Box::new(LlmInvoke::default()),
                Box::new(PostgresQuery),
                Box::new(SlackSend),
                Box::new(VoyageEmbed),
                Box::new(WebhookSend::new(rules)),
            ],
        }
    }

    /// The skill of this name.
    pub fn get(&self, name: &str) -> Option<&dyn Skill> {
        self.iter().find(|skill| skill.identity().name == name)
    }

    /// Every skill, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Skill> {
        self.skills.iter().map(AsRef::as_ref)
    }
}

impl Default for Registry {
    /// All skills under the default rules: no loopback ports, no hosts of our own.
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

/// Every skill's contract, ordered by name.
pub fn contracts() -> Vec<Contract> {
    vec![
        CalendarWrite::contract(),
        EmailSend::contract(),
        HttpCall::contract(),
        JsonTransform::contract(),
        KvStore::contract(),
        LlmInvoke::contract(),
        PostgresQuery::contract(),
        SlackSend::contract(),
        VoyageEmbed::contract(),
        WebhookSend::contract(),
    ]
}

/// The committed `contracts.json`, which the Worker serves: pretty, with a line end.
pub fn contracts_json() -> String {
    let mut text = serde_json::to_string_pretty(&contracts()).unwrap_or_default();
    text.push('\n');
    text
}

/// The contract of the skill of this name.
pub fn contract(name: &str) -> Option<Contract> {
    contracts().into_iter().find(|contract| contract.identity.name == name)
}

#[cfg(test)]
mod tests;
