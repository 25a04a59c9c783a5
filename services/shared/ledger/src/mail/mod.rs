//! What is to be mailed, and what became of it. Nothing here knows a mail server.

mod content;

pub use content::{MailContent, MailItem, MailShop};
