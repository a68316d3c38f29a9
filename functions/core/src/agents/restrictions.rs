//! Who may stop an agent account, let it go on, and share grants with it.

use deputize_api::reason::Reason;

use super::{AgentAccount, SharedGrants, StoppedBy};
use crate::{
    caller::{Power, UserCaller},
    clock::Timestamp,
    error::{Error, Result, Told},
};

impl AgentAccount {
    /// Whether it stands still, and the caller cannot let it go on.
    fn is_stopped_for(&self, caller: &UserCaller) -> bool {
        !self.active && !caller.stops_as().may_lift(self.disabled_by)
    }

    /// Refuses new credentials to those who may not let it go on: the credentials would be good once it is enabled
    /// again.
    pub(crate) fn require_open_for_credentials(&self, caller: &UserCaller) -> Result<()> {
        if self.is_stopped_for(caller) {
            let (who, may) = (StoppedBy::named(self.disabled_by), StoppedBy::lifted_by(self.disabled_by));
            return Err(Error::Forbidden(Told::of(
                Reason::AccountStopped,
                format!(
                    "{who} has disabled the agent account; until {may} enables it, only {may} can give it new credentials"
                ),
            )));
        }
        Ok(())
    }

    pub(super) fn set_active(&mut self, active: bool, caller: &UserCaller, now: Timestamp) -> Result<()> {
        if active {
            // With it, its credentials are good again: that would outlive what the user allowed the app.
            if !self.active {
                caller.require_own_credential()?;
            }
            if self.is_stopped_for(caller) {
                let (who, may) = (StoppedBy::named(self.disabled_by), StoppedBy::lifted_by(self.disabled_by));
                return Err(Error::Forbidden(Told::of(
                    Reason::AccountStopped,
                    format!("{who} has disabled the agent account; only {may} can enable it again"),
                )));
            }
            (self.disabled_by, self.disabled_at) = (None, None);
        } else {
            // An admin who disables what its owner has already disabled wants it to stay disabled.
            self.disabled_by = caller.stops_as().after(self.active, self.disabled_by);
            if self.active {
                self.epoch.end();
                self.disabled_at = Some(now);
            }
        }
        self.active = active;
        Ok(())
    }

    pub(super) fn set_shared_grants(
        &mut self,
        shared_grants: SharedGrants,
        caller: &UserCaller,
    ) -> Result<()> {
        if shared_grants == SharedGrants::Anyone && self.shared_grants == SharedGrants::Managers {
            caller.require(Power::Manage)?;
        }
        self.shared_grants = shared_grants;
        Ok(())
    }
}
