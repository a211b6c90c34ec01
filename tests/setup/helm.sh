# What renders the chart.

readonly HELM=v4.3.1

require_helm() {
    require_go_tool helm "$HELM" helm.sh/helm/v4/cmd/helm
}
