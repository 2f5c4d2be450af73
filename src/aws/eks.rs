//! EKS Pod Identity: which role the pods of a ServiceAccount act as. Associations are kept by EKS, not by the cluster.

use super::accounts::Accounts;
use super::error::{AwsError, found};

/// The Pod Identity associations of one EKS cluster, which is in the operator's own account and Region.
#[derive(Clone, Debug)]
pub struct PodIdentity {
    client: aws_sdk_eks::Client,
    cluster: String,
}

/// An association, without its role, which the list does not tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodIdentityAssociation {
    /// Its id.
    pub id: String,
    /// Namespace of the ServiceAccount.
    pub namespace: String,
    /// The ServiceAccount.
    pub service_account: String,
}

impl Accounts {
    /// The associations of a cluster, asked with the operator's own credentials.
    pub fn pod_identity(&self, cluster: &str) -> PodIdentity {
        PodIdentity { client: self.eks(), cluster: cluster.to_owned() }
    }
}

impl PodIdentity {
    /// Name of the cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// All associations: `eks:ListPodIdentityAssociations`.
    pub async fn associations(&self) -> Result<Vec<PodIdentityAssociation>, AwsError> {
        let call = self.client.list_pod_identity_associations().cluster_name(&self.cluster).max_results(100);
        let listed = call.into_paginator().items().send().try_collect().await;
        let listed: Vec<_> = listed.map_err(|error| AwsError::from_sdk("eks:ListPodIdentityAssociations", &error))?;
        let association = |summary: aws_sdk_eks::types::PodIdentityAssociationSummary| {
            Some(PodIdentityAssociation { id: summary.association_id?, namespace: summary.namespace?, service_account: summary.service_account? })
        };
        Ok(listed.into_iter().filter_map(association).collect())
    }

    /// ARN of the role that the pods' calls come from, `None` if the association is gone: of a chain the target role, since the pods get the credentials
    /// of that one. `eks:DescribePodIdentityAssociation`.
    pub async fn role(&self, id: &str) -> Result<Option<String>, AwsError> {
        const OPERATION: &str = "eks:DescribePodIdentityAssociation";
        let call = self.client.describe_pod_identity_association().cluster_name(&self.cluster).association_id(id);
        let answer = found(call.send().await.map_err(|error| AwsError::from_sdk(OPERATION, &error)))?;
        let Some(answer) = answer else { return Ok(None) };
        let association = answer.association.ok_or_else(|| AwsError::incomplete(OPERATION, "association"))?;
        let role = association.target_role_arn.or(association.role_arn).filter(|role| !role.is_empty());
        role.map(Some).ok_or_else(|| AwsError::incomplete(OPERATION, "role"))
    }
}
