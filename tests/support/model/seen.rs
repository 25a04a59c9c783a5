//! What a decision saw of what it did not lock: shops, customers, what it names, whether there is an account. Another
//! transaction may have changed those between the reading and the commit.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Awaited, Command, Customer, Merchant, Model, Told};

/// A command's merchant as it was once.
#[derive(Debug, Clone, PartialEq)]
pub struct MerchantThen(Option<Merchant>);

/// The customer whom a command names, as it was once.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomerThen(Option<Customer>);

/// What a decision saw otherwise than it is now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// The merchant as it was.
    pub merchant: Option<MerchantThen>,
    /// The customer as it was.
    pub customer: Option<CustomerThen>,
    /// There was no account yet.
    pub no_account: bool,
    /// What it names was not decided yet.
    pub nothing_named: bool,
}

impl MerchantThen {
    /// Whether it was registered.
    pub fn is_known(&self) -> bool {
        self.0.is_some()
    }
}

impl Command {
    /// The customer that it names.
    pub fn customer_id(&self) -> Option<&str> {
        self.data["customer"].as_str()
    }

    /// The currency that it names, or null.
    pub fn currency(&self) -> &Value {
        &self.data["currency"]
    }

    /// Whether nothing that is decided tells it from another of the same content: of puts, the time does.
    pub fn is_as_good_as(&self, other: &Self) -> bool {
        self.user == other.user && (self.time == other.time || !self.name.ends_with(".put"))
    }

    /// The withdrawal that it names by Saldo's id.
    pub fn withdrawal_id(&self) -> Option<&str> {
        self.data["withdrawal"].as_str()
    }
}

impl Model {
    /// A command's merchant as it is.
    pub fn merchant_now(&self, command: &Command) -> MerchantThen {
        MerchantThen(self.merchants.get(&command.key.0).cloned())
    }

    /// The customer whom a command names, as it is.
    pub fn customer_now(&self, command: &Command) -> Option<CustomerThen> {
        command.customer_id()?;
        Some(CustomerThen(self.customers.get(&command.customer()).cloned()))
    }

    /// Whether the account is there that a command names by customer and currency, if it names one so.
    pub fn has_account(&self, command: &Command) -> bool {
        let named = command.customer_id().is_some() && command.data["currency"].is_string();
        named && self.accounts.contains_key(&command.account())
    }

    /// Decides a command that saw this, and otherwise how things are.
    ///
    /// # Errors
    /// What it would have to wait for.
    pub fn decide_seeing(&mut self, command: &Command, late: bool, view: View) -> Result<Vec<Told>, Awaited> {
        let View { merchant, customer, no_account, nothing_named } = view;
        let newer_merchant = merchant.map(|then| replaced(&mut self.merchants, command.merchant(), then.0));
        let newer_customer = customer.map(|then| replaced(&mut self.customers, command.customer(), then.0));
        let account = no_account.then(|| (command.account(), self.accounts.remove(&command.account())));
        self.nothing_named = nothing_named;
        let told = self.decide(command, late);
        self.nothing_named = false;
        if let Some((key, account)) = account {
            replaced(&mut self.accounts, key, account);
        }
        if let Some(newer) = newer_customer {
            replaced(&mut self.customers, command.customer(), newer);
        }
        if let Some(newer) = newer_merchant {
            replaced(&mut self.merchants, command.merchant(), newer);
        }
        told
    }
}

fn replaced<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) -> Option<V> {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    }
}
