use std::collections::HashMap;

use milena_protocol::ErrorCode;
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const RULES: Rules = Rules { idempotent: true, in_flight_max: 5, pause: SECOND, pause_max: SECOND };
const IDENTITY: Identity = Identity { producer_id: 7, producer_epoch: 0 };

fn code(code: ErrorCode) -> Failure {
    Failure::after_sending(Error::Broker { context: String::new(), code, message: None })
}

fn lost() -> Failure {
    Failure::after_sending(Error::Disconnected { address: String::new(), message: String::new() })
}

fn stored() -> Result<Stored, Failure> {
    Ok(Stored { partition: 0, base_offset: Some(0), log_append_time: None })
}

/// A window with what a test says about it: items are numbers from 0, each a batch of one record.
struct Desk {
    window: Window<u32>,
    now: Instant,
    begun: u32,
}

impl Desk {
    fn new(rules: Rules) -> Self {
        let mut window = Window::new(rules);
        if rules.idempotent {
            assert_eq!(window.need(), Some(Need::Shared));
            window.identify(IDENTITY);
        }
        Self { window, now: Instant::now(), begun: 0 }
    }

    /// A window whose identity the broker knows.
    fn proven() -> Self {
        let mut desk = Self::new(RULES);
        assert_eq!(desk.fill(), [0], "the first goes alone");
        desk.answer(0, stored());
        desk
    }

    /// Takes in and sends what the window has room for; the items that were sent.
    fn fill(&mut self) -> Vec<u32> {
        let mut sent = Vec::new();
        loop {
            if let Some((id, _, _)) = self.window.next(self.now) {
                sent.push(id as u32);
            } else if self.window.has_room(self.now) {
                self.window.admit(self.begun, 1, self.now + 100 * SECOND);
                self.begun += 1;
            } else {
                return sent;
            }
        }
    }

    /// What is settled by the answer: items, and whether they are stored.
    fn answer(&mut self, id: u64, outcome: Result<Stored, Failure>) -> Vec<(u32, bool)> {
        let settled = self.window.answered(id, outcome, self.now);
        settled.into_iter().map(|(item, result)| (item, result.is_ok())).collect()
    }

    fn number(&self, index: usize) -> (i16, i32) {
        let number = self.window.entries[index].number.expect("it has a number");
        (number.identity.producer_epoch, number.sequence)
    }
}

#[test]
fn five_are_in_flight_and_the_oldest_makes_room() {
    let mut desk = Desk::proven();
    assert_eq!(desk.fill(), [1, 2, 3, 4, 5]);
    assert_eq!(desk.answer(2, stored()), [(2, true)]);
    assert_eq!(desk.fill(), [] as [u32; 0], "the broker must still remember batch 1");
    assert_eq!(desk.answer(1, stored()), [(1, true)]);
    assert_eq!(desk.fill(), [6, 7]);
}

#[test]
fn a_failed_batch_is_sent_again_first_and_the_others_follow_in_order() {
    let mut desk = Desk::proven();
    desk.fill();
    desk.answer(1, Err(code(ErrorCode::NotLeaderOrFollower)));
    for id in 2..=5 {
        assert_eq!(desk.answer(id, Err(code(ErrorCode::OutOfOrderSequenceNumber))), []);
    }
    assert_eq!(desk.fill(), [] as [u32; 0], "it pauses, and nothing overtakes it");
    desk.now += SECOND;
    for id in 1..=5 {
        assert_eq!(desk.window.next(desk.now).map(|(id, _, number)| (id, number.map(|n| n.sequence))), {
            Some((id, Some(id as i32)))
        });
        assert!(desk.window.next(desk.now).is_none(), "one by one");
        assert_eq!(desk.answer(id, stored()), [(id as u32, true)]);
    }
    assert_eq!(desk.fill(), [6, 7, 8, 9, 10]);
}

#[test]
fn behind_a_refused_batch_all_begin_anew_under_the_next_epoch() {
    let mut desk = Desk::proven();
    desk.fill();
    assert_eq!(desk.answer(1, Err(code(ErrorCode::MessageTooLarge))), [(1, false)]);
    assert_eq!((desk.number(0), desk.number(3)), ((1, 0), (1, 3)));
    assert_eq!(desk.fill(), [] as [u32; 0], "their answers are still to come");
    for id in 2..=5 {
        assert_eq!(desk.answer(id, Err(lost())), []);
    }
    assert_eq!(desk.fill(), [2], "the first of an identity goes alone");
    desk.answer(2, stored());
    assert_eq!(desk.fill(), [3, 4, 5, 6, 7]);
}

#[test]
fn a_refusal_waits_for_what_is_before_it() {
    let mut desk = Desk::proven();
    desk.fill();
    assert_eq!(desk.answer(2, Err(code(ErrorCode::MessageTooLarge))), []);
    assert_eq!(desk.answer(1, stored()), [(1, true), (2, false)]);
}

#[test]
fn behind_a_batch_that_may_be_stored_nobody_gets_another_number() {
    let mut desk = Desk::proven();
    desk.fill();
    for id in 1..=5 {
        desk.answer(id, Err(lost()));
    }
    desk.window.entries[0].deadline = desk.now;
    let late = Error::Closed;
    let settled = desk.window.expire(desk.now, &late);
    assert!(matches!(&settled[..], [(1, Err(Error::Disconnected { .. }))]), "{settled:?}");
    desk.now += SECOND;
    assert_eq!((desk.fill(), desk.number(0)), (vec![2], (0, 2)), "asked for under its old number, alone");
    // The broker had both: no doubt is left.
    assert_eq!(desk.answer(2, stored()), [(2, true)]);
    assert_eq!(desk.window.next(desk.now).map(|(id, ..)| id), Some(3));
    // Or it had neither the one before nor this one, as far as it says; an attempt may still be on its way.
    desk.window.numbering.doubtful = true;
    assert_eq!(desk.answer(3, Err(code(ErrorCode::OutOfOrderSequenceNumber))), [(3, false)]);
}

#[test]
fn a_broker_that_forgot_the_producer_is_answered_with_the_next_epoch() {
    let mut desk = Desk::proven();
    assert_eq!(desk.fill().len(), 5);
    assert_eq!(desk.answer(1, Err(code(ErrorCode::UnknownProducerId))), []);
    assert_eq!(desk.number(0), (1, 0));
}

#[test]
fn used_up_epochs_need_a_fresh_identity() {
    let mut desk = Desk::proven();
    desk.window.identify(Identity { producer_epoch: i16::MAX, ..IDENTITY });
    desk.fill();
    desk.answer(1, Err(code(ErrorCode::MessageTooLarge)));
    assert_eq!(desk.window.need(), Some(Need::Fresh));
    assert!(!desk.window.has_room(desk.now) || desk.window.is_empty());
    desk.window.identify(Identity { producer_id: 8, producer_epoch: 0 });
    assert_eq!(desk.window.need(), None);
}

#[test]
fn a_long_silence_makes_the_next_batch_go_alone() {
    let mut desk = Desk::proven();
    desk.now += 2 * Duration::from_secs(3600);
    assert_eq!(desk.fill(), [1]);
}

#[test]
fn without_idempotence_the_number_is_the_only_rule() {
    let mut desk = Desk::new(Rules { idempotent: false, in_flight_max: 2, ..RULES });
    assert_eq!(desk.fill(), [0, 1]);
    assert_eq!(desk.answer(0, Err(lost())), []);
    assert_eq!(desk.answer(1, stored()), [(1, true)]);
    assert_eq!(desk.fill(), [] as [u32; 0]);
    desk.now += SECOND;
    assert_eq!(desk.fill(), [0], "it goes again, behind the one that it was before");
    assert_eq!(desk.answer(0, stored()), [(0, true)]);
    assert_eq!(desk.fill(), [2, 3]);
}

/// A broker that keeps Kafka's rules about sequences, and connections that lose requests and answers.
#[derive(Default)]
struct Model {
    /// Epoch, sequence and item of what is stored.
    log: Vec<(i16, i32, u32)>,
    /// Requests that were sent and not yet read: id, number, item. A connection keeps their order.
    wire: VecDeque<(u64, Number, u32)>,
    /// Answers on their way.
    answers: Vec<(u64, Result<Stored, Failure>)>,
}

impl Model {
    fn append(&mut self, number: Number, item: u32) -> Result<Stored, Failure> {
        let (epoch, sequence) = (number.identity.producer_epoch, number.sequence);
        let last = self.log.last().copied();
        if last.is_some_and(|(last, ..)| last > epoch) {
            return Err(code(ErrorCode::InvalidProducerEpoch));
        }
        let same = |stored: &&(i16, i32, u32)| (stored.0, stored.1) == (epoch, sequence);
        if let Some(repeat) = self.log.iter().rev().take(5).find(same) {
            assert_eq!(repeat.2, item, "a number belongs to one batch");
            return stored();
        }
        let follows = match last {
            // Nothing is known of the producer.
            None => true,
            Some((last, last_sequence, _)) if last == epoch => sequence == last_sequence + 1,
            Some(_) => sequence == 0,
        };
        if !follows {
            return Err(code(ErrorCode::OutOfOrderSequenceNumber));
        }
        self.log.push((epoch, sequence, item));
        stored()
    }

    /// What happens to the oldest request on the wire.
    fn step(&mut self, choice: u8) {
        let Some((id, number, item)) = self.wire.pop_front() else { return };
        match choice % 8 {
            0 => self.answers.push((id, Err(lost()))),
            1 => {
                let _ = self.append(number, item);
                self.answers.push((id, Err(lost())));
            }
            2 => self.answers.push((id, Err(code(ErrorCode::NotLeaderOrFollower)))),
            3 => {
                let _ = self.append(number, item);
                self.answers.push((id, Err(code(ErrorCode::RequestTimedOut))));
            }
            4 => self.answers.push((id, Err(code(ErrorCode::MessageTooLarge)))),
            _ => {
                let answer = self.append(number, item);
                self.answers.push((id, answer));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn no_failure_stores_twice_or_out_of_order_or_says_what_is_not_so(
        choices in proptest::collection::vec((any::<u8>(), any::<u8>()), 1..250)
    ) {
        let mut desk = Desk::new(RULES);
        let mut model = Model::default();
        let mut outcomes: HashMap<u32, bool> = HashMap::new();
        for (action, choice) in choices {
            let mut settled = Vec::new();
            match action % 8 {
                0 | 1 => {
                    if desk.window.has_room(desk.now) {
                        desk.window.admit(desk.begun, 1, desk.now + 30 * SECOND);
                        desk.begun += 1;
                    }
                }
                2 | 3 => {
                    if let Some((id, item, number)) = desk.window.next(desk.now) {
                        model.wire.push_back((id, number.expect("a number"), *item));
                    }
                }
                4 => model.step(choice),
                5 | 6 if !model.answers.is_empty() => {
                    // Answers of several connections come in any order.
                    let answer = model.answers.remove(usize::from(choice) % model.answers.len());
                    settled = desk.answer(answer.0, answer.1);
                }
                _ => {
                    desk.now += Duration::from_secs(u64::from(choice % 4));
                    let expired = desk.window.expire(desk.now, &Error::Closed);
                    settled = expired.into_iter().map(|(item, result)| (item, result.is_ok())).collect();
                }
            }
            for (item, is_stored) in settled {
                prop_assert!(outcomes.insert(item, is_stored).is_none(), "{} is settled twice", item);
            }
            prop_assert!(desk.window.entries.len() <= 5);
        }
        let items: Vec<u32> = model.log.iter().map(|stored| stored.2).collect();
        prop_assert!(items.is_sorted_by(|a, b| a < b), "in order and none twice: {items:?}");
        for (item, is_stored) in outcomes {
            prop_assert!(!is_stored || items.contains(&item), "{item} is said to be stored: {items:?}");
        }
    }
}
