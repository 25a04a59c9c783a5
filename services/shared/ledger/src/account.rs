//! A customer's account in one currency.

use contract::{AccountState, Currency, CustomerId, MerchantId, SignedAmount};
use rust_decimal::Decimal;

/// Whose account, and in which currency. There is one account for each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey {
    /// The shop.
    pub merchant: MerchantId,
    /// Its customer.
    pub customer: CustomerId,
    /// The currency.
    pub currency: Currency,
}

/// An account as its locked row says, or as the batch has changed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Saldo's number of it.
    pub id: i64,
    /// Whose it is.
    pub key: AccountKey,
    /// The sum of its entries.
    pub balance: Decimal,
    /// Reserved by open withdrawals; never negative.
    pub held: Decimal,
    /// Commissions in their hold period; never negative, not part of the balance.
    pub pending: Decimal,
    /// Grows by one with every change.
    pub version: i64,
    /// How many entries it has: the newest one's number.
    pub entries: i64,
    /// The newest entry's hash; `None` while there is none.
    pub head: Option<[u8; 32]>,
}

impl Account {
    /// Balance, held and pending stay within ± this: 10^15, far from where `NUMERIC(20, 4)` ends.
    pub const LIMIT: Decimal = Decimal::from_parts(2_764_472_320, 232_830, 0, false, 0);

    /// An account as it is created.
    pub fn new(id: i64, key: AccountKey) -> Self {
        let zero = Decimal::ZERO;
        Self { id, key, balance: zero, held: zero, pending: zero, version: 0, entries: 0, head: None }
    }

    /// What can be withdrawn.
    pub fn available(&self) -> Decimal {
        self.balance - self.held
    }

    /// As events show it.
    pub fn state(&self) -> AccountState {
        let currency = self.key.currency;
        AccountState {
            balance: SignedAmount::new(self.balance, currency),
            held: SignedAmount::new(self.held, currency),
            pending: SignedAmount::new(self.pending, currency),
            available: SignedAmount::new(self.available(), currency),
            currency,
            version: self.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_ten_to_the_fifteenth() {
        assert_eq!(Account::LIMIT, Decimal::from(1_000_000_000_000_000_i64));
    }
}
