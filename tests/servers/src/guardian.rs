//! Ends a server, and removes its folder, when the process that owns it ends.
//!
//! A test that is killed with `SIGKILL` cannot clean up. So each server is the
//! child of a small `sh` script whose standard input is a pipe from us, and
//! nobody else has the other end: however we end, the kernel closes it. The
//! script then shuts the server down and removes the folder. Until then it
//! takes orders, one on each line: `start`, and `signal <NAME>`.
//!
//! The script and the server are a process group of their own, so that a
//! Ctrl-C in the terminal ends us, and not them before us.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use tokio::sync::watch;

use crate::account::Account;
use crate::error::{Doing, Error, Result};

/// `$1`: the folder. `$2`: `keep`, or nothing. `$3`: the signal that ends the
/// server for good. The rest: the server's command.
///
/// The server's process id is in `$dir/pid` for as long as it runs. The loop
/// after the launch makes sure that it is there before the end of the pipe is
/// seen, so a server that has only just been started is never missed.
const SCRIPT: &str = r#"
trap '' HUP INT TERM PIPE
dir=$1; keep=$2; end=$3; shift 3
cd /
while read -r verb name; do
  case $verb in
  start)
    rm -f "$dir/launched"
    (
      "$@" </dev/null >>"$dir/log" 2>&1 &
      pid=$!
      echo $pid >"$dir/pid"
      echo "started $pid"
      : >"$dir/launched"
      wait $pid
      status=$?
      rm -f "$dir/pid"
      echo "exited $status"
    ) &
    until [ -e "$dir/launched" ]; do sleep 0.01; done
    ;;
  signal)
    if [ -s "$dir/pid" ]; then kill -"$name" "$(cat "$dir/pid")"; fi
    ;;
  esac
done
if [ -s "$dir/pid" ]; then
  pid=$(cat "$dir/pid")
  kill -CONT $pid
  kill -"$end" $pid
  tries=0
  while [ -s "$dir/pid" ]; do
    tries=$((tries + 1))
    if [ $tries -eq 100 ]; then kill -KILL $pid; fi
    if [ $tries -gt 200 ]; then break; fi
    sleep 0.05
  done
fi
if [ -r "$dir/data/postmaster.pid" ]; then
  ipcrm -m "$(sed -n '7s/.* //p' "$dir/data/postmaster.pid")"
fi
if [ -z "$keep" ]; then
  tries=0
  while [ -d "$dir" ] && [ $tries -lt 50 ]; do
    rm -rf "$dir"
    tries=$((tries + 1))
    if [ -d "$dir" ]; then sleep 0.1; fi
  done
fi
"#;

/// What is known of the guarded server.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// How many times it was started.
    pub(crate) starts: u64,
    /// Its process id while it runs.
    pub(crate) pid: Option<u32>,
    /// What it last exited with, as the shell tells it.
    pub(crate) status: Option<i32>,
    /// The script itself has ended.
    pub(crate) gone: bool,
}

/// The script that guards one server. Dropping it ends the server.
#[derive(Debug)]
pub(crate) struct Guardian {
    orders: Mutex<Option<ChildStdin>>,
    state: watch::Receiver<State>,
}

impl Guardian {
    /// Starts the guardian, but not yet the server, which is `command` and which
    /// the signal `end` (`QUIT`, `KILL`) will end at last.
    ///
    /// Blocks only as long as it takes to spawn a process, and needs no
    /// runtime, so a server may outlive the runtime that started it.
    pub(crate) fn spawn(dir: &Path, end: &str, command: &Command) -> Result<Self> {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(SCRIPT).arg("zdm-guardian").arg(dir);
        let keep = std::env::var_os("ZDM_SERVERS_KEEP").is_some();
        shell.arg(if keep { "keep" } else { "" }).arg(end);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = Account::of_servers()
            .run(&mut shell)
            .spawn()
            .doing(|| "starting /bin/sh as a guardian".into())?;
        let orders = child.stdin.take();
        let (sender, state) = watch::channel(State::default());
        thread::Builder::new()
            .name("zdm-guardian".into())
            .spawn(move || follow(child, &sender))
            .doing(|| "starting a thread".into())?;
        Ok(Self { orders: Mutex::new(orders), state })
    }

    /// Starts the server and returns its process id.
    pub(crate) async fn start(&self) -> Result<u32> {
        let mut state = self.state.clone();
        let before = state.borrow_and_update().starts;
        self.order("start")?;
        let now = state
            .wait_for(|state| state.starts > before || state.gone)
            .await
            .doing(|| "waiting for the guardian".into())?;
        // A server that has already ended again has no pid: its log tells why.
        match now.gone {
            true => Err(Error::new("starting a server").because("its guardian has ended")),
            false => Ok(now.pid.unwrap_or(0)),
        }
    }

    /// Sends the server a signal (`INT`, `KILL`), if it runs.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        self.order(&format!("signal {name}"))
    }

    /// Waits until the server has ended.
    pub(crate) async fn ended(&self) {
        // An error means that the thread is gone, and so is the guardian.
        let _ = self.state.clone().wait_for(|state| state.pid.is_none() || state.gone).await;
    }

    /// Ends the server, and waits until its folder is gone.
    pub(crate) async fn finish(&self) {
        drop(self.orders.lock().unwrap_or_else(PoisonError::into_inner).take());
        let _ = self.state.clone().wait_for(|state| state.gone).await;
    }

    /// What is known now.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    fn order(&self, line: &str) -> Result<()> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pipe) = orders.as_mut() else {
            return Err(Error::new(format!("ordering '{line}'")).because("the server has been closed"));
        };
        // A line is far smaller than the pipe's buffer: this does not block.
        writeln!(pipe, "{line}").doing(|| format!("ordering '{line}' from the guardian of a server"))
    }
}

/// Turns what the script says into states, until it ends; then reaps it.
fn follow(mut child: Child, state: &watch::Sender<State>) {
    let lines = child.stdout.take().map(|out| BufReader::new(out).lines());
    for line in lines.into_iter().flatten().map_while(Result::ok) {
        let (verb, number) = line.split_once(' ').unwrap_or((&line, ""));
        state.send_modify(|state| match verb {
            "started" => {
                state.starts += 1;
                state.pid = number.parse().ok();
                state.status = None;
            }
            _ => {
                state.pid = None;
                state.status = number.parse().ok();
            }
        });
    }
    // It has closed its output: nothing is left but its exit.
    let _ = child.wait();
    state.send_modify(|state| {
        state.pid = None;
        state.gone = true;
    });
}
