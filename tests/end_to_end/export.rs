//! `saldo export`: an accountant's journal, whatever people have typed.
