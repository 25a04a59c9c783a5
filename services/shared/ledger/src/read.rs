//! Reading the ledger, for people and programs that only look.
