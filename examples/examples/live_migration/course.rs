//! The course of a move: rehearsal, switch, rollback, switch again, certificate.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use zdm_core::gate::{Gate, GateControl};
use zdm_core::migrate::certificate::Certificate;
use zdm_core::migrate::cutover::{CutoverOptions, Pause, Switch, Verification};
use zdm_core::migrate::{Migration, Running};
use zdm_core::run::Status;
use zdm_servers::postgres::Database;

use crate::Failure;
use crate::app::Side;
use crate::report::Bars;
use crate::witness::Witness;

/// What is moved, and who is served meanwhile.
pub(crate) struct Course<'a> {
    pub(crate) migration: &'a Migration,
    pub(crate) gate: &'a Gate<Side>,
    pub(crate) old: Side,
    pub(crate) new: Side,
    pub(crate) database: &'a Database,
    /// How long the application works on one side.
    pub(crate) between: Duration,
    pub(crate) said: &'a Bars,
}

/// How it went.
pub(crate) struct Went {
    pub(crate) rehearsal: Pause,
    /// Of each switch, there and back.
    pub(crate) pauses: Vec<Pause>,
    pub(crate) rollback: Option<Pause>,
    /// Rows that were compared under fences.
    pub(crate) touched_rows: u64,
    pub(crate) certificate: Certificate,
    /// The new database at the last switch.
    pub(crate) witness: Arc<Witness>,
    /// Before the first switch.
    pub(crate) status: Status,
}

impl Course<'_> {
    pub(crate) async fn run(&self, mut running: Running) -> Result<Went, Failure> {
        let options = CutoverOptions::default().verify(true);
        // All but the switch: nothing is different for anybody behind it.
        let rehearsal = running.rehearse(Arc::new(self.gate.toward(self.new.clone())), options).await?;
        self.said.say(&format!("rehearsed: writers waited {:.0} ms", rehearsal.pause.total_ms));
        let mut touched_rows = touched(&rehearsal.verification);
        let status = running.status();

        let (mut pauses, mut rollback) = (Vec::new(), None);
        if let Some(back) = self.migration.back() {
            let there = running.cutover(Arc::new(self.gate.toward(self.new.clone())), options).await?;
            self.switched(self.migration, &there, "switched").await?;
            // What is written on the new side follows to the old one.
            let mut returning = back.start(CancellationToken::new());
            returning.followed().await?;
            tokio::time::sleep(self.between).await;
            let home = returning.cutover(Arc::new(self.gate.toward(self.old.clone())), options).await?;
            self.switched(&back, &home, "rolled back").await?;
            rollback = Some(home.pause);
            running = self.migration.start(CancellationToken::new());
            running.followed().await?;
            tokio::time::sleep(self.between).await;
            for switch in [there, home] {
                touched_rows += touched(&switch.verification);
                pauses.push(switch.pause);
            }
        }

        // As the gate opens to the new side, the example looks at the new
        // database as it is then, before the first request comes in.
        let toward = self.gate.toward(self.new.clone());
        let witness = Arc::new(Witness::new(toward, self.database.clone()));
        let options = options.certificate(true);
        let switch = running.cutover(Arc::clone(&witness) as Arc<dyn GateControl>, options).await?;
        self.switched(self.migration, &switch, "switched for good").await?;
        touched_rows += touched(&switch.verification);
        pauses.push(switch.pause);
        let certificate = switch.certificate.ok_or("no certificate was made")?;
        self.said.say(&format!("certified: {certificate}"));
        Ok(Went { rehearsal: rehearsal.pause, pauses, rollback, touched_rows, certificate, witness, status })
    }

    /// Behind a switch, online: foreign keys are validated while the application
    /// writes.
    async fn switched(&self, direction: &Migration, switch: &Switch, what: &str) -> Result<(), Failure> {
        direction.complete().await?;
        self.said.say(&format!("{what}: writers waited {:.0} ms", switch.pause.total_ms));
        Ok(())
    }
}

/// Rows that were compared under the fence.
fn touched(verification: &Verification) -> u64 {
    match verification {
        Verification::Touched(tables) => tables.values().filter_map(|table| table.touched).sum(),
        _ => 0,
    }
}
