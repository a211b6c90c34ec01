"""The kubelet: the one whose calls the driver is made for."""

from cluster.kubectl import get
from cluster.places import CERTIFICATES, CGROUP, CONTAINERD, KUBECONFIG, KUBELET, NODE, NODE_ADDRESS, RUN
from cluster.program import Program


def start() -> Program:
    config = RUN / "kubelet.yaml"
    config.write_text(configuration())
    return Program(
        "kubelet",
        f"--config={config}",
        f"--kubeconfig={KUBECONFIG}",
        f"--root-dir={KUBELET}",
        f"--cert-dir={CERTIFICATES}/kubelet",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_ADDRESS}",
        ready=node_is_ready,
    )


def configuration() -> str:
    return f"""
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
containerRuntimeEndpoint: unix://{CONTAINERD}
cgroupDriver: cgroupfs
cgroupRoot: /{CGROUP}
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
evictionHard: {{nodefs.available: "1%", imagefs.available: "1%"}}
imageGCHighThresholdPercent: 100
resolvConf: ""
makeIPTablesUtilChains: false
volumeStatsAggPeriod: 5s
nodeStatusUpdateFrequency: 5s
"""


def node_is_ready() -> bool:
    conditions = [condition for node in get("nodes")["items"] for condition in node["status"].get("conditions", [])]
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
