//! The naive model of the rules, its own stories, and what a closed system must do.
//!
//! The model is what the ledger is compared with. Here it is compared with the scenarios, which are
//! the ground truth.

#[path = "model/mod.rs"]
mod model;

#[path = "model/closed.rs"]
mod closed;
#[path = "model/hitting.rs"]
mod hitting;
#[path = "model/open.rs"]
mod open;
#[path = "model/paced.rs"]
mod paced;
#[path = "model/rules.rs"]
mod rules;
#[path = "model/stories.rs"]
mod stories;
#[path = "model/story.rs"]
mod story;

#[path = "model/against.rs"]
mod against;
