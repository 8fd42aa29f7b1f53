//! The skills there are. Adding one is a file beside this one and a line here.

use std::sync::Arc;

use super::{
    Skill, address_guard::AddressRules, calendar_write::CalendarWrite, email_send::EmailSend, http_call::HttpCall,
    json_transform::JsonTransform, kv_store::KvStore, llm_invoke::LlmInvoke, postgres_query::PostgresQuery,
    slack_send::SlackSend, voyage_embed::VoyageEmbed, webhook_send::WebhookSend,
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
                Box::new(CalendarWrite::default()),
                Box::new(EmailSend::default()),
                Box::new(HttpCall::new(Arc::clone(&rules))),
                Box::new(JsonTransform::default()),
                Box::new(KvStore::default()),
                Box::new(LlmInvoke::default()),
                Box::new(PostgresQuery::default()),
                Box::new(SlackSend::default()),
                Box::new(VoyageEmbed::default()),
                Box::new(WebhookSend::new(rules)),
            ],
        }
    }

    /// The skill of this name.
    pub fn get(&self, name: &str) -> Option<&dyn Skill> {
        self.iter().find(|skill| skill.contract().name == name)
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

#[cfg(test)]
mod tests;
