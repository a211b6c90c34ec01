# The specification's own tests of CSI drivers.

readonly CSI_TEST=v5.4.0

require_csi_sanity() {
    require_go_tool csi-sanity "$CSI_TEST" github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity
}
