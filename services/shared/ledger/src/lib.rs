//! The books: rules as pure functions, and the Postgres store that carries them out.
//!
//! A batch of commands is one transaction. [`store`] reads what the commands touch into [`Books`], [`decide`]
//! lets a worker's [`Rules`] decide every command against them in memory, and `store` writes the result. The
//! pure part knows neither database nor broker; time comes in with the books.

pub mod account;
pub mod books;
pub mod commission;
pub mod customer;
pub mod decide;
pub mod display;
pub mod entry;
pub mod failure;
pub mod mail;
pub mod merchant;
pub mod minimum;
pub mod read;
pub mod rules;
pub mod schema;
pub mod store;
pub mod tally;
pub mod tls;
pub mod treasury;
pub mod vault;
pub mod withdrawal;

pub use account::{Account, AccountKey};
pub use books::{Books, Named, Posted, Shift};
pub use commission::{About, Commission, CommissionState};
pub use customer::{CurrentPayout, Customer, CustomerKey, NewPayout, PayoutSnapshot};
pub use decide::{Item, Plan, Verdict};
pub use entry::{Entry, EntryKind, Posting};
pub use failure::Failure;
pub use merchant::Merchant;
pub use rules::{Awaited, Decision, Naming, Needs, Rules};
pub use store::{BatchId, Settled, Store};
pub use withdrawal::{Step, Transition, Withdrawal};
