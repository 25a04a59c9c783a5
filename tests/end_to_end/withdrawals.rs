//! Withdrawals: nobody gets more than there is, nothing is paid twice, and what is refused changes nothing.

mod approval;
mod kills;
mod limits;
mod races;
mod refunds;
mod reservation;
