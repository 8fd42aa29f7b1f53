//! The skills that call URLs of a caller's, against the stand-ins of the DNS, of HTTP targets and of receivers of
//! webhooks: real requests over real connections, answers good and bad.

#[path = "web_skills/world.rs"]
mod world;

#[path = "web_skills/calls.rs"]
mod calls;
#[path = "web_skills/names.rs"]
mod names;
#[path = "web_skills/webhooks.rs"]
mod webhooks;
