//! How commands that change nothing in AWS get into accounts.

use crate::aws::{Accounts, AwsError, Settings};
use crate::names::{RoleArn, RoleName};

/// Arguments of commands that only read.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Reader {
    /// Role that only reads, by its name, path included: assumed in each Tenant's account in place of the roleArn that the Tenant names
    #[arg(long, value_name = "NAME", env = "ENCRYPTED_QUEUE_READER_ROLE_NAME", value_parser = RoleName::parse)]
    pub reader_role_name: Option<RoleName>,
}

impl Reader {
    /// Accounts as this reader sees them.
    pub(super) async fn connect(&self, operator_role_arn: Option<&RoleArn>) -> Result<Accounts, AwsError> {
        let reader_role_name = self.reader_role_name.clone();
        Accounts::connect(Settings { operator_role_arn: operator_role_arn.cloned(), reader_role_name, ..Settings::default() }).await
    }
}
