//! Who may stop an agent account, let it go on, and share grants with it.

use deputize_api::reason::Reason;

use super::{AgentAccount, DisabledBy, SharedGrants};
use crate::{
    caller::{Power, UserCaller},
    error::{Error, Result, Told},
};

impl AgentAccount {
    /// Whether it stands still until an admin lets it go on. One that was disabled before it was kept by whom might
    /// have been by an admin.
    fn is_stopped(&self) -> bool {
        !self.active && self.disabled_by != Some(DisabledBy::Owner)
    }

    /// Refuses new credentials while it is stopped by an admin: they would be good once it is enabled again.
    pub(crate) fn require_open_for_credentials(&self, caller: &UserCaller) -> Result<()> {
        if self.is_stopped() && !caller.has(Power::Operate) {
            return Err(Error::Forbidden(Told::of(
                Reason::AccountStopped,
                "An admin has disabled the agent account; until an admin enables it, only an admin can give it new credentials",
            )));
        }
        Ok(())
    }

    pub(super) fn set_active(&mut self, active: bool, caller: &UserCaller) -> Result<()> {
        let is_admin = caller.has(Power::Operate);
        if active {
            // With it, its credentials are good again: that would outlive what the user allowed the app.
            if !self.active {
                caller.require_own_credential()?;
            }
            if self.is_stopped() && !is_admin {
                return Err(Error::Forbidden(Told::of(
                    Reason::AccountStopped,
                    "An admin has disabled the agent account; only an admin can enable it again",
                )));
            }
            self.disabled_by = None;
        } else {
            if self.active {
                self.epoch.end();
                self.disabled_by = Some(DisabledBy::Owner);
            }
            // An admin who disables what its owner has already disabled wants it to stay disabled.
            if is_admin {
                self.disabled_by = Some(DisabledBy::Admin);
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
