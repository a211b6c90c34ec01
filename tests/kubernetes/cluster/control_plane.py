"""etcd, the API and the two that act on what it says: without them no kubelet knows a CSI driver."""

import subprocess
import urllib.request

from cluster.kubectl import succeeds
from cluster.places import API_ADDRESS, CERTIFICATES, KUBECONFIG, NODE_ADDRESS, RUN, SERVICES
from cluster.program import Program

ETCD = "http://127.0.0.1:2379"
TOKEN = "administrator"
# As pods know it; then nobody has to translate its address.
PORT = 443
ACCOUNTS_KEY, ACCOUNTS_PUBLIC = CERTIFICATES / "accounts.key", CERTIFICATES / "accounts.pub"


def start() -> None:
    CERTIFICATES.mkdir(parents=True)
    make_accounts_key()
    write_kubeconfig()
    start_etcd()
    start_api()
    start_controllers()
    start_scheduler()


def make_accounts_key() -> None:
    for command in (["genrsa", "-out", ACCOUNTS_KEY, "2048"], ["rsa", "-in", ACCOUNTS_KEY, "-pubout", "-out", ACCOUNTS_PUBLIC]):
        subprocess.run(["openssl", *command], check=True, capture_output=True)


def write_kubeconfig() -> None:
    (RUN / "tokens.csv").write_text(f'{TOKEN},administrator,1,"system:masters"\n')
    KUBECONFIG.write_text(
        f"""
apiVersion: v1
kind: Config
clusters:
- name: node
  cluster: {{server: "https://{API_ADDRESS}:{PORT}", certificate-authority: {CERTIFICATES}/apiserver.crt}}
users: [{{name: administrator, user: {{token: {TOKEN}}}}}]
contexts: [{{name: node, context: {{cluster: node, user: administrator}}}}]
current-context: node
"""
    )


def start_etcd() -> None:
    Program(
        "etcd",
        "--data-dir=/var/lib/etcd/data",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        ready=lambda: answers(f"{ETCD}/health"),
    )


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def start_api() -> None:
    Program(
        "kube-apiserver",
        f"--etcd-servers={ETCD}",
        f"--cert-dir={CERTIFICATES}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--secure-port={PORT}",
        f"--advertise-address={NODE_ADDRESS}",
        f"--token-auth-file={RUN}/tokens.csv",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        f"--service-account-key-file={ACCOUNTS_PUBLIC}",
        f"--service-account-signing-key-file={ACCOUNTS_KEY}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--kubelet-preferred-address-types=InternalIP",
        ready=lambda: succeeds("get", "--raw", "/readyz"),
    )


def start_controllers() -> None:
    Program(
        "kube-controller-manager",
        f"--kubeconfig={KUBECONFIG}",
        f"--service-account-private-key-file={ACCOUNTS_KEY}",
        f"--root-ca-file={CERTIFICATES}/apiserver.crt",
        f"--cert-dir={CERTIFICATES}",
        "--leader-elect=false",
        "--controllers=*,-node-ipam-controller,-cloud-node-lifecycle-controller,-service-lb-controller,-node-route-controller",
        # Before it has made this account no pod is taken.
        ready=lambda: succeeds("get", "serviceaccount", "default"),
    )


def start_scheduler() -> None:
    options = [f"--kubeconfig={KUBECONFIG}", "--leader-elect=false", f"--cert-dir={CERTIFICATES}"]
    Program("kube-scheduler", *options, ready=lambda: True)
