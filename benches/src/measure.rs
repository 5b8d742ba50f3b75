//! What a run costs: wall time, CPU seconds, peak memory. By what Linux tells
//! in `/proc`.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::Result;

/// In which the kernel counts the time of processes: hundredths of a second,
/// on every machine (`USER_HZ`).
const TICKS: f64 = 100.0;
/// How often a process is looked at, for its memory. What is asked for is the
/// highest it has ever been, so only its last moments can be missed.
const LOOK: Duration = Duration::from_millis(20);

/// What one run of a program cost.
#[derive(Debug, Clone)]
pub struct Cost {
    /// Seconds from its start to its end.
    pub wall: f64,
    /// CPU seconds, of user and system.
    pub cpu: f64,
    /// Its peak memory, in MiB.
    pub peak: f64,
    /// What it has printed.
    pub out: String,
}

/// CPU time of the calling thread so far.
///
/// # Errors
/// Where there is no `/proc`.
pub fn of_thread() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanos))
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be started, or fails: with what it has said.
pub async fn program(mut command: Command) -> Result<Cost> {
    let before = of_children()?;
    let began = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let status = format!("/proc/{}/status", child.id().unwrap_or_default());
    let mut peak = 0.0;
    let listen = async {
        let (mut out, mut said) = (String::new(), String::new());
        if let (Some(stdout), Some(stderr)) = (&mut stdout, &mut stderr) {
            tokio::try_join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut said))?;
        }
        child.wait().await.map(|ended| (ended, out, said))
    };
    tokio::pin!(listen);
    let (ended, out, said) = loop {
        tokio::select! {
            ended = &mut listen => break ended?,
            () = tokio::time::sleep(LOOK) => peak = memory(&status).unwrap_or(peak),
        }
    };
    let wall = began.elapsed().as_secs_f64();
    if !ended.success() {
        return Err(format!("{command:?} failed ({ended}): {out}{said}").into());
    }
    Ok(Cost { wall, cpu: of_children()? - before, peak, out })
}

/// CPU seconds of a server so far: of its process and all that this one has
/// started.
///
/// # Errors
/// When there is no such process.
pub fn of_server(pid: u32) -> Result<f64> {
    let own = Stat::read(&pid.to_string())?;
    let mut ticks = own.own + own.children;
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(stat) = Stat::read(&name)
            && stat.parent == pid
        {
            ticks += stat.own + stat.children;
        }
    }
    Ok(ticks / TICKS)
}

/// The middle one of some numbers; 0 of none.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}

/// CPU seconds of those of our children that have ended.
fn of_children() -> Result<f64> {
    Ok(Stat::read("self")?.children / TICKS)
}

/// `VmHWM`, in MiB.
fn memory(status: &str) -> Option<f64> {
    let text = fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1024.0)
}

/// A line of `/proc/PID/stat`, times in ticks.
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
struct Stat {
    parent: u32,
    own: f64,
    children: f64,
}

impl Stat {
    fn read(pid: &str) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // Behind the name, which may hold anything: state, parent, …
        let (_, fields) = text.rsplit_once(')').ok_or("a process has no name")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let number = |at: usize| -> Result<f64> { Ok(fields.get(at).ok_or("a field is missing")?.parse()?) };
        Ok(Self {
            parent: fields.get(1).ok_or("a field is missing")?.parse()?,
            own: number(11)? + number(12)?,
            children: number(13)? + number(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]).total_cmp(&2.0), std::cmp::Ordering::Equal);
        assert_eq!(median(Vec::new()).total_cmp(&0.0), std::cmp::Ordering::Equal);
    }

    #[tokio::test]
    async fn a_program_that_works_costs_something() {
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; echo done"]);
        let cost = program(command).await.unwrap();
        assert_eq!(cost.out.trim(), "done");
        assert!(cost.cpu > 0.0 && cost.wall > 0.0, "{cost:?}");
        let mut command = Command::new("sh");
        command.args(["-c", "echo no >&2; exit 3"]);
        assert!(program(command).await.unwrap_err().to_string().contains("no"));
    }
}
