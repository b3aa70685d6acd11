//! Calls without media, one after another, as fast as the relay answers.

use super::{Trial, net, seconds, verdict, worker};
use crate::trial::progress::Phase;
use crate::trial::report::Requests;
use crate::trial::target::CallNumber;

/// What a call asks of the relay, in order.
const COMMANDS: [&str; 3] = ["offer", "answer", "delete"];

impl Trial<'_> {
    /// Sets up and tears down calls for the time of the plan, beside some that stay up.
    pub(super) fn signalling(&mut self, open: u32) {
        self.total = Some(self.plan.duration);
        let open: Vec<CallNumber> = (0..open).map(CallNumber).collect();
        if let Err(error) = self.target.open(&open) {
            self.failed = Some(error);
            return;
        }
        self.next = u32::try_from(open.len()).unwrap_or(u32::MAX);
        self.up = open;
        self.phase = Phase::Measuring;
        self.look();
        let (began, processor) = (net::now(), self.processor_time());
        match self.target.churn(CallNumber(self.next), self.plan.calls as usize, self.plan.duration) {
            Err(error) => self.failed = Some(error),
            Ok(churned) => {
                let used = self.processor_time().zip(processor).map(|(after, before)| after.saturating_sub(before));
                let calls = churned.calls.max(1) as f64;
                let set_up = &mut self.report.set_up;
                set_up.calls = churned.calls;
                set_up.torn_down = churned.calls;
                set_up.per_second = churned.calls as f64 / churned.took.as_secs_f64().max(1e-9);
                set_up.cpu_us_per_call = used.map(|used| used as f64 / 1e3 / calls);
                self.report.requests =
                    COMMANDS.iter().zip(churned.replies).map(|(command, times)| requests(command, &times)).collect();
                if let (Some(process), Some(used)) = (&mut self.report.process, used) {
                    process.cpu_seconds = seconds(used);
                    process.cpu_percent = super::percent(used, net::now() - began);
                }
            }
        }
    }
}

fn requests(command: &str, times: &[u64]) -> Requests {
    let mut histogram = worker::histogram();
    times.iter().for_each(|time| histogram.saturating_record(*time));
    let at = |percentile| verdict::percentile(&histogram, percentile).unwrap_or(0.0);
    Requests {
        command: command.to_owned(),
        count: histogram.len(),
        p50_us: at(50.0),
        p99_us: at(99.0),
        p99_9_us: at(99.9),
        max_us: at(100.0),
    }
}
