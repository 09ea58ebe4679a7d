use proptest::{collection::vec, prelude::*};

use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

// A queue of so many places.
fn queue(places: u32) -> HashQueue<u32> {
    let mut queue = HashQueue::new(1);
    queue.cost = LONGEST / places;
    queue
}

fn order(queue: &mut HashQueue<u32>, now: Instant) -> Vec<u32> {
    std::iter::from_fn(|| queue.take(now).work.map(|(work, _)| work)).collect()
}

#[test]
fn higher_classes_go_first_and_within_one_who_came_first() {
    let (mut queue, now) = (queue(10), Instant::now());
    let arrivals = [
        (Class::Throttled, 1),
        (Class::Normal, 2),
        (Class::StepUp, 3),
        (Class::Normal, 4),
        (Class::Known, 5),
        (Class::StepUp, 6),
    ];
    for (class, work) in arrivals {
        assert!(queue.enter(class, work, now).id.is_some());
    }
    assert_eq!(order(&mut queue, now), [3, 6, 5, 2, 4, 1]);
}

#[test]
fn a_known_browser_is_not_held_for_its_network() {
    let class = |renews, known, throttled| Class::of_sign_in(renews, known, throttled);
    assert_eq!(class(true, false, true), Class::StepUp);
    assert_eq!(class(false, true, true), Class::Known);
    assert_eq!(class(false, false, true), Class::Throttled);
    assert_eq!(class(false, false, false), Class::Normal);
}

#[test]
fn a_full_queue_refuses_its_equals_and_makes_room_for_its_betters() {
    let (mut queue, now) = (queue(3), Instant::now());
    for work in 1..=2 {
        queue.enter(Class::Normal, work, now);
    }
    queue.enter(Class::Throttled, 3, now);
    let throttled = queue.enter(Class::Throttled, 4, now);
    assert_eq!((throttled.id, throttled.refused), (None, Some(4)));
    // The lowest class gives way first, and of it the last.
    assert_eq!(queue.enter(Class::Normal, 5, now).refused, Some(3));
    assert_eq!(queue.enter(Class::Normal, 6, now).id, None);
    assert_eq!(queue.enter(Class::StepUp, 7, now).refused, Some(5));
    assert_eq!(order(&mut queue, now), [7, 1, 2]);
}

#[test]
fn who_leaves_makes_room() {
    let (mut queue, now) = (queue(2), Instant::now());
    let first = queue.enter(Class::Normal, 1, now).id.unwrap();
    queue.enter(Class::Normal, 2, now);
    assert_eq!(queue.leave(first), Some(1));
    assert_eq!(queue.leave(first), None);
    assert!(queue.enter(Class::Normal, 3, now).id.is_some());
    assert_eq!(order(&mut queue, now), [2, 3]);
}

#[test]
fn the_queue_is_as_long_as_hashes_are_quick() {
    let mut queue: HashQueue<u32> = HashQueue::new(4);
    for _ in 0..200 {
        queue.note(10 * MILLISECOND);
    }
    assert!((790..=801).contains(&queue.most()), "{}", queue.most());
    for _ in 0..200 {
        queue.note(200 * MILLISECOND);
    }
    assert!((40..=41).contains(&queue.most()), "{}", queue.most());
    for _ in 0..200 {
        queue.note(Duration::from_secs(60));
    }
    assert_eq!(queue.most(), 4);
    for _ in 0..200 {
        queue.note(Duration::ZERO);
    }
    assert!(queue.most() <= 100_000);
}

#[test]
fn who_was_overtaken_too_long_is_not_hashed() {
    let (mut queue, start) = (queue(5), Instant::now());
    queue.enter(Class::Throttled, 1, start);
    queue.enter(Class::Normal, 2, start + OVERDUE - MILLISECOND);
    let now = start + OVERDUE;
    assert_eq!(queue.take(now).work, Some((2, MILLISECOND)));
    let taken = queue.take(now);
    assert_eq!((taken.work, taken.overdue), (None, vec![1]));
}

#[derive(Debug, Clone)]
enum Move {
    Enter(Class),
    Leave(usize),
    Take,
    Note(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let class =
        prop_oneof![Just(Class::Throttled), Just(Class::Normal), Just(Class::Known), Just(Class::StepUp)];
    let one = prop_oneof![
        4 => class.prop_map(Move::Enter),
        1 => (0_usize..40).prop_map(Move::Leave),
        2 => Just(Move::Take),
        1 => (1_u64..2_000).prop_map(Move::Note),
    ];
    vec(one, 0..200)
}

proptest! {
    // Each work is done, refused or left once, none is lost, and nobody is overtaken by a lower class.
    #[test]
    fn every_work_ends_once_and_in_order(moves in moves()) {
        let (mut queue, now) = (HashQueue::new(2), Instant::now());
        let mut inside: Vec<(u64, Class, u32)> = Vec::new();
        for (work, step) in (0_u32..).zip(moves) {
            match step {
                Move::Enter(class) => {
                    let was_full = queue.depth() >= queue.most();
                    let entered = queue.enter(class, work, now);
                    prop_assert_eq!(was_full, entered.refused.is_some());
                    if let Some(refused) = entered.refused.filter(|refused| *refused != work) {
                        let at = inside.iter().position(|(_, _, work)| *work == refused).unwrap();
                        let (_, lower, _) = inside.remove(at);
                        prop_assert!(lower < class);
                        prop_assert!(inside.iter().all(|(_, other, _)| *other >= lower));
                    }
                    inside.extend(entered.id.map(|id| (id, class, work)));
                }
                Move::Leave(at) if at < inside.len() => {
                    let (id, _, work) = inside.remove(at);
                    prop_assert_eq!(queue.leave(id), Some(work));
                }
                Move::Leave(at) => prop_assert_eq!(queue.leave(1_000 + at as u64), None),
                Move::Take => {
                    let best = inside.iter().min_by_key(|(id, class, _)| (std::cmp::Reverse(*class), *id)).copied();
                    let taken = queue.take(now).work.map(|(work, _)| work);
                    prop_assert_eq!(taken, best.map(|(_, _, work)| work));
                    inside.retain(|(_, _, work)| Some(*work) != taken);
                }
                Move::Note(milliseconds) => queue.note(Duration::from_millis(milliseconds)),
            }
            prop_assert_eq!(queue.depth(), inside.len());
        }
    }
}
