//! The messages of the Container Runtime Interface that the agent needs. The numbers are the fields of
//! k8s.io/cri-api `pkg/apis/runtime/v1/api.proto`; v1alpha2 has the same ones. The decoder skips fields that
//! are not listed.

use prost::Message;

/// VersionRequest: version = 1, the client's version, which runtimes ignore.
#[derive(Clone, PartialEq, Message)]
pub struct VersionRequest {
    /// Always empty here.
    #[prost(string, tag = "1")]
    pub version: String,
}

/// VersionResponse: runtime_name = 2, runtime_version = 3, runtime_api_version = 4.
#[derive(Clone, PartialEq, Message)]
pub struct VersionResponse {
    /// `containerd`
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    /// `1.6.20~ds1`
    #[prost(string, tag = "3")]
    pub runtime_version: String,
    /// `v1`
    #[prost(string, tag = "4")]
    pub runtime_api_version: String,
}

/// StatusRequest: verbose = 1.
#[derive(Clone, PartialEq, Message)]
pub struct StatusRequest {
    /// Whether to include the runtime's configuration.
    #[prost(bool, tag = "1")]
    pub verbose: bool,
}

/// StatusResponse: status = 1, info = 2.
#[derive(Clone, PartialEq, Message)]
pub struct StatusResponse {
    /// The conditions.
    #[prost(message, optional, tag = "1")]
    pub status: Option<RuntimeStatus>,
    /// In a verbose answer: the runtime's own documents. containerd's `config` is its configuration as JSON.
    #[prost(btree_map = "string, string", tag = "2")]
    pub info: std::collections::BTreeMap<String, String>,
}

/// RuntimeStatus: conditions = 1.
#[derive(Clone, PartialEq, Message)]
pub struct RuntimeStatus {
    /// `RuntimeReady`, `NetworkReady` and the runtime's own.
    #[prost(message, repeated, tag = "1")]
    pub conditions: Vec<RuntimeCondition>,
}

/// RuntimeCondition: type = 1, status = 2, reason = 3, message = 4.
#[derive(Clone, PartialEq, Message)]
pub struct RuntimeCondition {
    /// `RuntimeReady`
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Whether it is true.
    #[prost(bool, tag = "2")]
    pub status: bool,
    /// The reason if it is false, as one word.
    #[prost(string, tag = "3")]
    pub reason: String,
    /// The reason if it is false, as text.
    #[prost(string, tag = "4")]
    pub message: String,
}

/// RuntimeConfigRequest has no fields.
#[derive(Clone, PartialEq, Message)]
pub struct RuntimeConfigRequest {}

/// RuntimeConfigResponse: linux = 1.
#[derive(Clone, PartialEq, Message)]
pub struct RuntimeConfigResponse {
    /// The configuration on Linux.
    #[prost(message, optional, tag = "1")]
    pub linux: Option<LinuxRuntimeConfiguration>,
}

/// LinuxRuntimeConfiguration: cgroup_driver = 1.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxRuntimeConfiguration {
    /// SYSTEMD = 0, CGROUPFS = 1.
    #[prost(int32, tag = "1")]
    pub cgroup_driver: i32,
}

/// ListPodSandboxRequest: filter = 1, never set, so the answer lists all sandboxes.
#[derive(Clone, PartialEq, Message)]
pub struct ListPodSandboxRequest {}

/// ListPodSandboxResponse: items = 1.
#[derive(Clone, PartialEq, Message)]
pub struct ListPodSandboxResponse {
    /// All sandboxes, including those that have ended.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<PodSandbox>,
}

/// PodSandbox: id = 1, metadata = 2.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandbox {
    /// The runtime's identifier.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The name and namespace of the pod.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<PodSandboxMetadata>,
}

/// PodSandboxMetadata: name = 1, namespace = 3.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxMetadata {
    /// The pod's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The pod's namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
}

/// StopPodSandboxRequest and RemovePodSandboxRequest: pod_sandbox_id = 1.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxRequest {
    /// The sandbox.
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
}

/// StopPodSandboxResponse and RemovePodSandboxResponse have no fields.
#[derive(Clone, PartialEq, Message)]
pub struct Empty {}
