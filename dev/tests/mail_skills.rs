//! The skills that call Resend, Slack and Voyage, against the stand-ins: what goes out, what each documented error means,
//! and what becomes of an answer that is lost.

#[path = "mail_skills/world.rs"]
mod world;

#[path = "mail_skills/breakers.rs"]
mod breakers;
#[path = "mail_skills/email.rs"]
mod email;
#[path = "mail_skills/slack.rs"]
mod slack;
#[path = "mail_skills/voyage.rs"]
mod voyage;
