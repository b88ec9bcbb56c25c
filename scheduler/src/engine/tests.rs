//! Stories of the engine, with its real ledger, over stores that can be told to fail.

mod audit;
mod crash;
mod decide;
mod flaky;
mod hits;
mod lagging;
mod restart;
mod stage;
mod stores;
mod watching;
