//! What a decision saw of what it did not lock: shops, customers, what it names, whether there is an account. Another
//! transaction may have changed those between the reading and the commit.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Account, AccountKey, Awaited, Command, Commission, Customer, Key, Known, Merchant, Model, Told,
    Withdrawal,
};

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

/// All that a command can change, as it was.
#[derive(Debug, Clone)]
pub struct Before {
    merchant: (String, Option<Merchant>),
    customer: Option<((String, String), Option<Customer>)>,
    accounts: Vec<(AccountKey, Option<Account>)>,
    /// The command and what it names.
    keys: Vec<Named>,
}

/// A key with what there is under it.
type Named = (Key, Option<Known>, Option<Commission>, Option<Withdrawal>);

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
        self.user == other.user && (self.time == other.time || self.worker() != "directory")
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

    /// When the hold period of the commission ends that this command brought, if it has not ended.
    pub fn available_at(&self, command: &Key) -> Option<i64> {
        self.commissions.get(command)?.available_at
    }

    /// All that this command can change.
    pub fn before(&self, command: &Command) -> Before {
        let mut keys = vec![command.key.clone()];
        keys.extend(command.names());
        keys.extend(command.withdrawal_id().and_then(|_| self.withdrawal(command).ok()));
        let mut accounts = BTreeSet::new();
        if command.customer_id().is_some() && command.currency().is_string() {
            accounts.insert(command.account());
        }
        for key in &keys {
            accounts.extend(self.commissions.get(key).map(|commission| commission.account.clone()));
            accounts.extend(self.withdrawals.get(key).map(|withdrawal| withdrawal.account.clone()));
            accounts.extend(self.commands.get(key).and_then(|known| Some(known.entry.clone()?.0)));
        }
        if command.data["entry"].is_string() {
            accounts.extend(self.entry(command).ok().map(|(account, _)| account));
        }
        let of = |key: Key| {
            let (commission, withdrawal) = (self.commissions.get(&key), self.withdrawals.get(&key));
            let (commission, withdrawal) = (commission.cloned(), withdrawal.cloned());
            (key.clone(), self.commands.get(&key).cloned(), commission, withdrawal)
        };
        let account = |key: AccountKey| (key.clone(), self.accounts.get(&key).cloned());
        Before {
            merchant: (command.merchant(), self.merchant_now(command).0),
            customer: self.customer_now(command).map(|now| (command.customer(), now.0)),
            accounts: accounts.into_iter().map(account).collect(),
            keys: keys.into_iter().map(of).collect(),
        }
    }

    /// Takes back what has been decided since.
    pub fn restore(&mut self, before: Before) {
        let Before { merchant, customer, accounts, keys } = before;
        replaced(&mut self.merchants, merchant.0, merchant.1);
        if let Some((key, customer)) = customer {
            replaced(&mut self.customers, key, customer);
        }
        for (key, account) in accounts {
            replaced(&mut self.accounts, key, account);
        }
        for (key, known, commission, withdrawal) in keys {
            replaced(&mut self.commands, key.clone(), known);
            replaced(&mut self.commissions, key.clone(), commission);
            replaced(&mut self.withdrawals, key, withdrawal);
        }
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
