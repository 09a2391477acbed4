use std::task::Waker;
use std::thread;
use std::time::Duration;

use super::*;

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_number_already_reached_is_ready_without_registering() {
    let watermark = Watermark::new(5);
    assert_eq!(poll_once(&mut watermark.reached(5)), Poll::Ready(Ok(5)));
    assert_eq!(watermark.waiting(), 0);
}

#[test]
fn a_rise_wakes_those_it_reaches_and_leaves_the_others() {
    let watermark = Watermark::new(0);
    let (mut near, mut far) = (watermark.reached(3), watermark.reached(4));
    assert!(poll_once(&mut near).is_pending());
    assert!(poll_once(&mut far).is_pending());
    watermark.advance(3);
    assert_eq!(poll_once(&mut near), Poll::Ready(Ok(3)));
    assert!(poll_once(&mut far).is_pending());
    assert_eq!(watermark.waiting(), 1);
}

#[test]
fn a_smaller_number_never_lowers_it() {
    let watermark = Watermark::new(7);
    watermark.advance(6);
    assert_eq!(watermark.get(), 7);
}

#[test]
fn a_dropped_wait_leaves_nothing_behind() {
    let watermark = Watermark::new(0);
    let mut wait = watermark.reached(1);
    assert!(poll_once(&mut wait).is_pending());
    assert_eq!(watermark.waiting(), 1);
    drop(wait);
    assert_eq!(watermark.waiting(), 0);
    assert!(watermark.waiters.lock().entries.is_empty());
}

#[test]
fn interrupt_ends_current_waits_and_close_also_later_ones() {
    let watermark = Watermark::new(0);
    let mut wait = watermark.reached(1);
    assert!(poll_once(&mut wait).is_pending());
    watermark.interrupt();
    assert_eq!(poll_once(&mut wait), Poll::Ready(Err(Interrupted)));
    assert!(poll_once(&mut watermark.reached(1)).is_pending());
    watermark.close();
    assert_eq!(poll_once(&mut watermark.reached(1)), Poll::Ready(Err(Interrupted)));
    assert_eq!(poll_once(&mut watermark.reached(0)), Poll::Ready(Ok(0)));
}

#[test]
fn one_signal_can_wait_at_many_watermarks() {
    let (a, b) = (Watermark::new(0), Watermark::new(0));
    let signal = Arc::new(Signal::default());
    let tickets = [a.register(1, &signal), b.register(1, &signal)];
    assert!(tickets.iter().all(Option::is_some));
    b.advance(1);
    assert!(signal.has_fired());
    a.forget(tickets[0].expect("registered above"));
    assert_eq!((a.waiting(), b.waiting()), (0, 0));
}

/// Many waiters on runtimes of their own against many raisers: a lost wake-up shows as a timeout.
#[test]
fn no_wake_up_is_lost_between_threads() {
    const WAITERS: i64 = 8;
    const RAISERS: i64 = 4;
    const TOP: i64 = 2_000;
    let watermark = Watermark::new(0);
    thread::scope(|scope| {
        for waiter in 0..WAITERS {
            let watermark = &watermark;
            scope.spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
                runtime.block_on(async {
                    let mut at = waiter % 3 + 1;
                    while at <= TOP {
                        let wait = tokio::time::timeout(Duration::from_secs(20), watermark.reached(at));
                        let seen = wait.await.expect("a wake-up was lost").expect("not interrupted");
                        assert!(seen >= at);
                        at += 1 + waiter % 3;
                    }
                });
            });
        }
        for raiser in 0..RAISERS {
            let watermark = &watermark;
            scope.spawn(move || {
                for number in (raiser + 1..=TOP).step_by(RAISERS as usize) {
                    watermark.advance(number);
                    thread::yield_now();
                }
            });
        }
    });
    assert_eq!((watermark.get(), watermark.waiting()), (TOP, 0));
}
