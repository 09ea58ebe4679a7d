//! What the relay does next, as a pure machine: no clock, no database, no broker.

use std::collections::VecDeque;

/// Rows read at once.
pub(crate) const PAGE: usize = 5_000;
/// Pages whose rows are not all acknowledged yet.
const WINDOWS: usize = 4;

/// Where a row stands: by position first, then by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Mark {
    pub(crate) position: i64,
    pub(crate) seq: i64,
}

impl Mark {
    // Behind every row of the positions below this one.
    const fn before(position: i64) -> Self {
        Self { position: position - 1, seq: i64::MAX }
    }
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// The time between two saves went by.
    Tick,
    /// The lowest transaction id that may still write, taken now.
    Horizon(i64),
    /// The answer to [`Output::Read`], in the order of marks. `full`: there may be more below the horizon.
    Page { marks: Vec<Mark>, full: bool },
    /// Kafka has the row.
    Acked(Mark),
    /// Somebody else may lead.
    LeaseLost,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Read rows behind `after` whose position is below `below`.
    Read { after: Mark, below: i64 },
    /// Produce the rows of the page with these indexes, in this order.
    Produce(Vec<usize>),
    /// Save the cursor.
    Save(Mark),
    /// Produce nothing any more. The range (exclusive, inclusive) may still be on its way.
    Stop { in_flight: Option<(Mark, Mark)> },
}

#[derive(Debug)]
struct Window {
    last: Mark,
    unacked: usize,
}

/// The relay's state between inputs.
#[derive(Debug)]
pub(crate) struct Planner {
    cursor: Mark,
    saved: Mark,
    after: Mark,
    reading: Option<i64>,
    pending: VecDeque<(Mark, bool)>,
    windows: VecDeque<Window>,
    stopped: bool,
}

impl Planner {
    /// Goes on behind a saved cursor.
    pub(crate) fn new(cursor: Mark) -> Self {
        Self {
            cursor,
            saved: cursor,
            after: cursor,
            reading: None,
            pending: VecDeque::new(),
            windows: VecDeque::new(),
            stopped: false,
        }
    }

    /// Whether a horizon would be of use now: no page is on its way, and there is room for one more.
    pub(crate) fn wants_horizon(&self) -> bool {
        !self.stopped && self.reading.is_none() && self.windows.len() < WINDOWS
    }

    /// Every row up to here was read, and produced unless the relay stopped.
    pub(crate) fn read_up_to(&self) -> Mark {
        self.after
    }

    /// Rows that were produced and are not acknowledged.
    pub(crate) fn unacked(&self) -> usize {
        self.windows.iter().map(|window| window.unacked).sum()
    }

    pub(crate) fn on(&mut self, input: Input) -> Option<Output> {
        if self.stopped {
            return None;
        }
        match input {
            Input::Tick => self.save(),
            Input::Horizon(horizon) => self.horizon(horizon),
            Input::Page { marks, full } => self.page(&marks, full),
            Input::Acked(mark) => {
                self.acked(mark);
                None
            }
            Input::LeaseLost => {
                self.stopped = true;
                Some(Output::Stop { in_flight: self.pending.back().map(|(last, _)| (self.cursor, *last)) })
            }
        }
    }

    fn save(&mut self) -> Option<Output> {
        if self.cursor == self.saved {
            return None;
        }
        self.saved = self.cursor;
        Some(Output::Save(self.cursor))
    }

    fn horizon(&mut self, horizon: i64) -> Option<Output> {
        if !self.wants_horizon() || self.after >= Mark::before(horizon) {
            return None;
        }
        self.reading = Some(horizon);
        Some(Output::Read { after: self.after, below: horizon })
    }

    fn page(&mut self, marks: &[Mark], full: bool) -> Option<Output> {
        let horizon = self.reading.take()?;
        let taken = match marks.last() {
            // The next page begins with a whole position, so that its rows are sorted together. A position that fills a
            // page alone goes on by number.
            Some(last) if full => {
                let whole = marks.partition_point(|mark| mark.position < last.position);
                self.after = if whole == 0 { *last } else { Mark::before(last.position) };
                if whole == 0 { marks.len() } else { whole }
            }
            // The horizon was taken before the page, so nothing can appear below it any more.
            _ => {
                self.after = Mark::before(horizon);
                marks.len()
            }
        };
        let last = *marks.get(taken.checked_sub(1)?)?;
        self.windows.push_back(Window { last, unacked: taken });
        self.pending.extend(marks[..taken].iter().map(|mark| (*mark, false)));
        let mut order: Vec<usize> = (0..taken).collect();
        order.sort_by_key(|index| marks[*index].seq);
        Some(Output::Produce(order))
    }

    // The cursor stops before the first row that is not acknowledged: past a hole it would lose that row at a restart.
    fn acked(&mut self, mark: Mark) {
        let Ok(index) = self.pending.binary_search_by_key(&mark, |(mark, _)| *mark) else { return };
        let Some((_, acked)) = self.pending.get_mut(index) else { return };
        if std::mem::replace(acked, true) {
            return;
        }
        let window = self.windows.partition_point(|window| window.last < mark);
        if let Some(window) = self.windows.get_mut(window) {
            window.unacked -= 1;
        }
        while let Some((mark, true)) = self.pending.front() {
            self.cursor = *mark;
            self.pending.pop_front();
        }
        while self.windows.front().is_some_and(|window| window.unacked == 0) {
            self.windows.pop_front();
        }
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(position: i64, seq: i64) -> Mark {
        Mark { position, seq }
    }

    fn page(planner: &mut Planner, horizon: i64, marks: &[Mark], full: bool) -> Option<Output> {
        assert!(matches!(planner.on(Input::Horizon(horizon)), Some(Output::Read { .. })));
        planner.on(Input::Page { marks: marks.to_vec(), full })
    }

    #[test]
    fn rows_go_out_in_the_order_of_their_numbers() {
        let mut planner = Planner::new(Mark::default());
        let marks = [mark(5, 9), mark(6, 7), mark(7, 8)];
        assert_eq!(page(&mut planner, 10, &marks, false), Some(Output::Produce(vec![1, 2, 0])));
    }

    #[test]
    fn the_cursor_stops_before_a_hole() {
        let mut planner = Planner::new(Mark::default());
        page(&mut planner, 10, &[mark(5, 1), mark(6, 2), mark(7, 3)], false);
        planner.on(Input::Acked(mark(5, 1)));
        planner.on(Input::Acked(mark(7, 3)));
        assert_eq!(planner.on(Input::Tick), Some(Output::Save(mark(5, 1))));
        assert_eq!(planner.on(Input::Tick), None);
        planner.on(Input::Acked(mark(6, 2)));
        assert_eq!(planner.on(Input::Tick), Some(Output::Save(mark(7, 3))));
    }

    #[test]
    fn a_full_page_ends_before_its_last_position() {
        let mut planner = Planner::new(Mark::default());
        let out = page(&mut planner, 10, &[mark(5, 1), mark(6, 2), mark(6, 3)], true);
        assert_eq!(out, Some(Output::Produce(vec![0])));
        assert_eq!(planner.on(Input::Horizon(10)), Some(Output::Read { after: Mark::before(6), below: 10 }));
    }

    #[test]
    fn a_position_that_fills_a_page_alone_goes_on_by_number() {
        let mut planner = Planner::new(Mark::default());
        let out = page(&mut planner, 10, &[mark(6, 2), mark(6, 3)], true);
        assert_eq!(out, Some(Output::Produce(vec![0, 1])));
        assert_eq!(planner.on(Input::Horizon(10)), Some(Output::Read { after: mark(6, 3), below: 10 }));
    }

    #[test]
    fn nothing_is_read_twice_under_one_horizon() {
        let mut planner = Planner::new(Mark::default());
        assert_eq!(page(&mut planner, 10, &[], false), None);
        assert_eq!(planner.on(Input::Horizon(10)), None);
        assert!(planner.on(Input::Horizon(11)).is_some());
    }

    #[test]
    fn at_most_four_windows_are_in_flight() {
        let mut planner = Planner::new(Mark::default());
        for position in 1..=4 {
            page(&mut planner, position + 1, &[mark(position, position)], false);
        }
        assert!(!planner.wants_horizon());
        assert_eq!(planner.on(Input::Horizon(99)), None);
        planner.on(Input::Acked(mark(1, 1)));
        assert!(planner.wants_horizon());
    }

    #[test]
    fn who_lost_the_lease_says_what_may_be_on_its_way() {
        let mut planner = Planner::new(Mark::default());
        page(&mut planner, 10, &[mark(5, 1), mark(6, 2)], false);
        planner.on(Input::Acked(mark(5, 1)));
        let stop = Output::Stop { in_flight: Some((mark(5, 1), mark(6, 2))) };
        assert_eq!(planner.on(Input::LeaseLost), Some(stop));
        assert_eq!(planner.on(Input::Tick), None);
    }
}
