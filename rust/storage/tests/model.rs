//! Compares the engine with plain lists of points: random inserts under every policy, deletes,
//! retention, reclaiming, restarts, streams that are created, moved and obliterated, and reads of
//! every version must agree with the naive answer.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    reason = "a test fails by panicking, its extremes are exact and its numbers small"
)]

#[path = "model/action.rs"]
mod action;
#[path = "model/answers.rs"]
mod answers;
mod oracle;
#[path = "model/world.rs"]
mod world;

use action::{Action, StreamAction, action};
use pingthings_types::MergePolicy;
use proptest::prelude::*;
use world::World;

/// Few cases unless `PROPTEST_CASES` asks for more, because one takes long.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => asked.cases,
        None => 64,
    };
    ProptestConfig { cases, ..asked }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_engine_agrees_with_lists_of_points(
        actions in prop::collection::vec(action(), 1..60),
    ) {
        let mut world = World::new();
        for action in actions {
            world.act(action);
        }
        world.check();
    }
}

/// Above an overfull nanosecond there is a node that does not fill its 64 buckets.
#[test]
fn merging_sees_points_behind_a_crowded_nanosecond() {
    let crowd = (0..5_000).map(|i| (32, f64::from(i))).collect();
    for policy in [
        MergePolicy::Equal,
        MergePolicy::Retain,
        MergePolicy::Replace,
    ] {
        let mut world = World::new();
        for (points, policy) in [
            (vec![(70, 0.0)], MergePolicy::Never),
            (Vec::clone(&crowd), MergePolicy::Never),
            (vec![(33, 0.0), (70, 0.0)], policy),
        ] {
            world.act(Action::To(0, StreamAction::Insert(points, policy)));
        }
        world.check();
    }
}
