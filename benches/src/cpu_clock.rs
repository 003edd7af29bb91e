//! The time that a thread has run, whatever else the machine was doing.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// CPU time of the calling thread since it began. Reading it is a system call of some 200 ns, so what is measured
/// should take a thousand times as long.
///
/// # Panics
/// When the system has no such clock: then there is nothing to measure with.
pub fn thread_cpu_time() -> Duration {
    match clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID) {
        Ok(time) => Duration::from(time),
        Err(error) => panic!("the system does not tell the CPU time of a thread: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_cpu_time_and_sleep_does_not() {
        let start = thread_cpu_time();
        std::thread::sleep(Duration::from_millis(50));
        let slept = thread_cpu_time() - start;
        assert!(slept < Duration::from_millis(20), "{slept:?}");
        let start = thread_cpu_time();
        let mut sum = 0_u64;
        while thread_cpu_time() - start < Duration::from_millis(5) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(sum > 100);
    }
}
