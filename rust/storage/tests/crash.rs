//! The power fails, or the disk fails once, at every operation in turn. Everything acknowledged is
//! there, exactly once, when the engine opens again, and every version reads as it did.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod faults;
mod inserts;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use faults::{Fault, Loss, Machine, MachineCatalog, Outcome};
use inserts::{Contents, Known, STREAMS, Scenario, batch, check, create, pairs, read};
use pingthings_storage::{Durability, Engine, Error, NewStream};
use pingthings_types::{MergePolicy, TimeRange};
use uuid::Uuid;

/// Runs until the fault has occurred, restarts, checks, continues, restarts and checks.
///
/// Returns the number of operations.
fn run(scenario: Scenario, fault: Fault, loss: Loss) -> usize {
    let machine = Machine::new(fault);
    let mut known = <[Known; 2]>::default();
    {
        let catalog = MachineCatalog::new(&machine);
        let engine = scenario.open(Arc::clone(&machine) as _, catalog).unwrap();
        if create(&engine) {
            scenario.work(&engine, &mut known, 0..30);
        }
    }
    let (blocks, catalog) = machine.restart(loss);
    {
        let engine = scenario
            .open(Arc::clone(&blocks) as _, Arc::clone(&catalog) as _)
            .unwrap_or_else(|error| panic!("{scenario:?} {fault:?} {loss:?}: {error}"));
        if engine.version(STREAMS[0]).is_err() || engine.version(STREAMS[1]).is_err() {
            return machine.count();
        }
        check(&engine, &known, matches!(fault, Fault::Power(_)));
        scenario.work(&engine, &mut known, 30..50);
    }
    let engine = scenario.open(blocks, catalog).unwrap();
    check(&engine, &known, false);
    machine.count()
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_fails() {
    for scenario in Scenario::all(Durability::Synced) {
        let all = run(scenario, Fault::Power(usize::MAX), Loss::Everything);
        assert!(all > 50, "{all} operations are too few to fail");
        for at in 0..all {
            for loss in Loss::ALL {
                run(scenario, Fault::Power(at), loss);
            }
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_an_operation_fails() {
    const NEVER: usize = usize::MAX;
    for scenario in Scenario::all(Durability::Synced) {
        let all = run(scenario, Fault::Once(NEVER, NEVER), Loss::Everything);
        for at in 0..all {
            for (number, later) in [3, 8, 21, NEVER].into_iter().enumerate() {
                for loss in Loss::some(at + number) {
                    run(scenario, Fault::Once(at, later), loss);
                }
            }
        }
    }
}

/// One step of a scenario with deletes, applied to the engine and to a list.
fn step(number: usize, engine: &Engine, list: &mut Option<Contents>) -> Result<(), Error> {
    let uuid = STREAMS[0];
    let mut insert = |number: i64, policy| {
        let points = batch(number);
        let contents = list.as_mut().unwrap();
        if policy == MergePolicy::Replace {
            contents.retain(|pair| !points.times.contains(&pair.0));
        }
        contents.extend(pairs(&points));
        contents.sort_by_key(|pair| pair.0);
        engine.insert(uuid, points, policy).map(|_| ())
    };
    match number {
        0 | 1 => insert(i64::from(number == 0), MergePolicy::Never),
        2 => engine.flush(uuid).map(|_| ()),
        4 => insert(1, MergePolicy::Replace),
        6 => insert(2, MergePolicy::Never),
        3 | 5 | 7 => {
            let (start, end) = [(-100, 1), (8, 12), (-100, 1_000)][(number - 3) / 2];
            let contents = list.as_mut().unwrap();
            contents.retain(|pair| pair.0 < start || end <= pair.0);
            let range = TimeRange::new(start, end).unwrap();
            engine.delete(uuid, range).map(|_| ())
        }
        8 => insert(3, MergePolicy::Retain),
        _ => {
            *list = None;
            engine.obliterate(uuid)
        }
    }
}

/// The content of the stream; `None` if it does not exist.
fn state(engine: &Engine) -> Option<Contents> {
    match engine.version(STREAMS[0]) {
        Ok(_) => Some(read(engine, STREAMS[0], 0)),
        Err(Error::NoSuchStream { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Checks that each step has happened completely or not at all; returns the number of operations.
fn run_steps(scenario: Scenario, at: usize, loss: Loss) -> usize {
    let machine = Machine::new(Fault::Power(at));
    let mut list = Some(Contents::new());
    let mut before = list.clone();
    {
        let catalog = MachineCatalog::new(&machine);
        let engine = scenario.open(Arc::clone(&machine) as _, catalog).unwrap();
        if !create(&engine) {
            return machine.count();
        }
        for number in 0..10 {
            before.clone_from(&list);
            if step(number, &engine, &mut list).is_err() {
                break;
            }
            before.clone_from(&list);
            assert_eq!(state(&engine), list, "step {number}");
        }
    }
    let (blocks, catalog) = machine.restart(loss);
    for _ in 0..2 {
        let engine = scenario.open(Arc::clone(&blocks) as _, Arc::clone(&catalog) as _);
        let found = state(&engine.unwrap());
        assert!(
            found == before || found == list,
            "{scenario:?} {at} {loss:?}: {found:?}"
        );
    }
    machine.count()
}

#[test]
fn a_delete_is_done_completely_or_not_at_all() {
    for scenario in Scenario::all(Durability::Synced) {
        let all = run_steps(scenario, usize::MAX, Loss::Everything);
        for at in 0..all {
            for loss in Loss::ALL {
                run_steps(scenario, at, loss);
            }
        }
    }
}

/// A change of the catalog is reported as failed, with any of the possible outcomes. Once something
/// is acknowledged again, what is read is what the next process finds, and also the one after a
/// power failure. Returns the number of operations.
fn fail_once(scenario: Scenario, at: usize, outcome: Outcome) -> usize {
    let machine = Machine::with_outcome(Fault::Once(at, usize::MAX), outcome);
    let mut expected = [None, None];
    {
        let catalog = MachineCatalog::new(&machine);
        let engine = scenario.open(Arc::clone(&machine) as _, catalog).unwrap();
        for (at, uuid) in STREAMS.into_iter().enumerate() {
            let stream = || NewStream {
                uuid,
                collection: format!("crash/{at}"),
                ..NewStream::default()
            };
            if engine.create(stream()).is_err() {
                match engine.create(stream()) {
                    Ok(()) | Err(Error::SameStream { .. }) => {}
                    Err(error) => panic!("{scenario:?} {at} {outcome:?}: {error}"),
                }
            }
        }
        let mut list = Some(Contents::new());
        for number in 0..10 {
            if machine.has_failed_change() || step(number, &engine, &mut list).is_err() {
                break;
            }
        }
        if at < usize::MAX && !machine.has_failed_change() {
            return machine.count();
        }
        for (number, uuid) in (20..).zip(STREAMS) {
            match engine.insert(uuid, batch(number), MergePolicy::Never) {
                Ok(_) | Err(Error::NoSuchStream { .. }) => {}
                Err(error) => panic!("{scenario:?} {at} {outcome:?}: {error}"),
            }
        }
        for (uuid, expected) in STREAMS.into_iter().zip(&mut expected) {
            *expected = engine.version(uuid).ok().map(|_| read(&engine, uuid, 0));
        }
        // Like a killed process, it commits nothing when it ends.
        std::mem::forget(engine);
    }
    assert!(expected[1].is_some(), "{scenario:?} {at} {outcome:?}");
    let check = |blocks, catalog| {
        let engine = scenario.open(blocks, catalog).unwrap();
        for (uuid, expected) in STREAMS.into_iter().zip(&expected) {
            let found = engine.version(uuid).ok().map(|_| read(&engine, uuid, 0));
            assert_eq!(&found, expected, "{scenario:?} {at} {outcome:?} {uuid}");
        }
    };
    let next = machine.next_process(Fault::Power(usize::MAX));
    check(Arc::clone(&next) as _, MachineCatalog::new(&next) as _);
    for loss in Loss::ALL {
        let (blocks, catalog) = next.restart(loss);
        check(blocks, catalog);
    }
    machine.count()
}

#[test]
fn a_change_that_failed_but_is_there_costs_nothing() {
    for scenario in Scenario::all(Durability::Synced) {
        let all = fail_once(scenario, usize::MAX, Outcome::Gone);
        assert!(all > 30, "{all} operations are too few to fail");
        for at in 0..all {
            for outcome in Outcome::ALL {
                fail_once(scenario, at, outcome);
            }
        }
    }
}

/// A thread panics in an operation; returns the number of operations.
fn run_panicking(scenario: Scenario, at: usize) -> usize {
    let machine = Machine::new(Fault::Panic(at));
    let mut known = <[Known; 2]>::default();
    let catalog = MachineCatalog::new(&machine);
    let open = || {
        let engine = scenario.open(Arc::clone(&machine) as _, Arc::clone(&catalog) as _);
        engine.unwrap()
    };
    let Ok(engine) = catch_unwind(AssertUnwindSafe(open)) else {
        return machine.count();
    };
    if !matches!(catch_unwind(AssertUnwindSafe(|| create(&engine))), Ok(true)) {
        return machine.count();
    }
    for number in 0..30 {
        let work = || scenario.work(&engine, &mut known, number..number + 1);
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            for known in &mut known {
                known.failed.push(number);
            }
        }
    }
    check(&engine, &known, false);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(engine)));
    let (blocks, catalog) = machine.restart(Loss::Everything);
    let engine = scenario.open(blocks, catalog).unwrap();
    check(&engine, &known, false);
    machine.count()
}

#[test]
fn a_panic_stops_nobody_else_and_loses_nothing() {
    for scenario in Scenario::all(Durability::Synced) {
        let all = run_panicking(scenario, usize::MAX);
        assert!(all > 50, "{all} operations are too few to fail");
        for at in 0..all {
            run_panicking(scenario, at);
        }
    }
}

/// The death of the process loses nothing of a relaxed journal either.
#[test]
fn a_relaxed_journal_survives_a_dead_process() {
    for scenario in Scenario::all(Durability::Relaxed) {
        let all = run(scenario, Fault::Power(usize::MAX), Loss::Nothing);
        for at in 0..all {
            run(scenario, Fault::Power(at), Loss::Nothing);
        }
    }
}

/// Checks what a power failure leaves of relaxed inserts; returns the number of operations.
fn run_relaxed(scenario: Scenario, at: usize, loss: Loss) -> usize {
    let machine = Machine::new(Fault::Power(at));
    let mut known = <[Known; 2]>::default();
    {
        let catalog = MachineCatalog::new(&machine);
        let engine = scenario.open(Arc::clone(&machine) as _, catalog).unwrap();
        if !create(&engine) {
            return machine.count();
        }
        scenario.work(&engine, &mut known, 0..30);
    }
    let (blocks, catalog) = machine.restart(loss);
    let engine = scenario
        .open(blocks, catalog)
        .unwrap_or_else(|error| panic!("{scenario:?} {at} {loss:?}: {error}"));
    for (uuid, known) in STREAMS.into_iter().zip(&known) {
        let found = read(&engine, uuid, 0);
        let batches = known.acknowledged.iter().chain(known.failed.first());
        let mut expected = Contents::new();
        let is_beginning = std::iter::once(expected.clone())
            .chain(batches.map(|number| {
                expected.extend(pairs(&batch(*number)));
                expected.sort_by_key(|pair| pair.0);
                expected.clone()
            }))
            .any(|beginning| beginning == found);
        assert!(is_beginning, "{scenario:?} {at} {loss:?}: {found:?}");
        for (major, contents) in &known.versions {
            assert_eq!(&read(&engine, uuid, *major), contents, "version {major}");
        }
    }
    machine.count()
}

#[test]
fn a_relaxed_journal_loses_only_its_end_when_the_power_fails() {
    for scenario in Scenario::all(Durability::Relaxed) {
        let all = run_relaxed(scenario, usize::MAX, Loss::Everything);
        for at in 0..all {
            for loss in Loss::ALL {
                run_relaxed(scenario, at, loss);
            }
        }
    }
}

const VICTIM: Uuid = Uuid::from_u128(3);

/// Writes blocks of a third stream between those of the others.
fn add_victim(engine: &Engine, first: i64) {
    for number in first..first + 4 {
        // The content of this stream is not checked.
        let _ = engine.insert(VICTIM, batch(number), MergePolicy::Never);
        let _ = engine.flush(VICTIM);
    }
}

/// The same with a stream that is obliterated and whose space is reclaimed before and after the
/// fault.
fn run_reclaiming(scenario: Scenario, fault: Fault, loss: Loss) -> usize {
    let machine = Machine::new(fault);
    let mut known = <[Known; 2]>::default();
    {
        let catalog = MachineCatalog::new(&machine);
        let engine = scenario.open(Arc::clone(&machine) as _, catalog).unwrap();
        let victim = NewStream {
            uuid: VICTIM,
            collection: "crash/victim".to_owned(),
            ..NewStream::default()
        };
        if create(&engine) && engine.create(victim).is_ok() {
            for round in 0..3 {
                add_victim(&engine, round * 10);
                scenario.work(&engine, &mut known, round * 8..(round + 1) * 8);
            }
            let _ = engine.obliterate(VICTIM);
            let done = engine.compact(&mut |_| {});
            if let (Ok(done), Fault::Power(usize::MAX), 0) = (done, fault, scenario.seed) {
                assert!(done.rewritten > 0 && done.removed > 0, "{done:?}");
            }
            scenario.work(&engine, &mut known, 24..30);
        }
    }
    let (blocks, catalog) = machine.restart(loss);
    for _ in 0..2 {
        let engine = scenario
            .open(Arc::clone(&blocks) as _, Arc::clone(&catalog) as _)
            .unwrap_or_else(|error| panic!("{scenario:?} {fault:?} {loss:?}: {error}"));
        if STREAMS
            .into_iter()
            .any(|uuid| engine.version(uuid).is_err())
        {
            break;
        }
        check(&engine, &known, false);
        let _ = engine.obliterate(VICTIM);
        engine.compact(&mut |_| {}).unwrap();
        check(&engine, &known, false);
        let again = engine.compact(&mut |_| {}).unwrap();
        assert_eq!((again.rewritten, again.removed), (0, 0));
    }
    machine.count()
}

#[test]
fn reclaiming_costs_nothing_that_is_needed() {
    for scenario in Scenario::all(Durability::Synced) {
        let all = run_reclaiming(scenario, Fault::Power(usize::MAX), Loss::Everything);
        assert!(all > 100, "{all} operations are too few to fail");
        for at in 0..all {
            for loss in Loss::some(at) {
                run_reclaiming(scenario, Fault::Power(at), loss);
            }
            run_reclaiming(scenario, Fault::Once(at, usize::MAX), Loss::Nothing);
        }
    }
}
