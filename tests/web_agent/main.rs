//! The agent's page, its JSON and its live feed, through the public door.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod connections;
mod feed;
mod page;
mod shelf;
