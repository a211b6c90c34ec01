{{/* What the programs are told: the file of settings, variables, tokens. */}}

{{/* The file of one part: config, and over it what only this part is to have. Takes (list . "node"). */}}
{{- define "weightfs.settings" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
{{- $config := mergeOverwrite (deepCopy $root.Values.config) (index $root.Values $part).config -}}
{{- if hasKey $config "runtime_directory" -}}
{{- fail "config: leave runtime_directory out; the parts meet at the one that the chart sets" -}}
{{- end -}}
{{- range $section, $keys := dict
      "cache" (dict "directory" "node.cache.hostPath or server.pvc")
      "daemon" (dict "holder" "nothing, it is the one of each node")
      "hub" (dict "endpoint" "hub.endpoint" "token_file" "node.hubToken or server.hubToken")
      "server" (dict "port" "nothing, it is 8001" "metrics_port" "metrics.port" "token_file" "node.serviceToken or server.serviceToken") -}}
{{- range $key, $instead := $keys -}}
{{- if hasKey (get $config $section | default dict) $key -}}
{{- fail (printf "config: leave %s.%s out, which the chart sets by a value of its own: %s" $section $key $instead) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}

{{/* Variables of both kinds of `weightfs serve`. Takes (list . "node"). */}}
{{- define "weightfs.environment" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
- name: WEIGHTFS_RUNTIME_DIRECTORY
  value: /run/weightfs
- name: WEIGHTFS_CACHE_DIRECTORY
  value: /var/cache/weightfs
- name: WEIGHTFS_HUB_ENDPOINT
  value: {{ $root.Values.hub.endpoint | quote }}
{{- if $root.Values.metrics.enabled }}
- name: WEIGHTFS_SERVER_METRICS_PORT
  value: {{ $root.Values.metrics.port | quote }}
{{- end }}
{{- if $part.hubToken.secret }}
- name: WEIGHTFS_HUB_TOKEN_FILE
  value: /var/run/secrets/weightfs/hub/token
{{- end }}
{{- if $part.serviceToken.secret }}
- name: WEIGHTFS_SERVER_TOKEN_FILE
  value: /var/run/secrets/weightfs/service/token
{{- end }}
{{- end }}

{{/* Its files. Takes (list . "node"). */}}
{{- define "weightfs.mounts" -}}
{{- $part := index (index . 0).Values (index . 1) -}}
- name: config
  mountPath: /etc/weightfs
  readOnly: true
- name: temporary
  mountPath: /tmp
{{- range $name, $token := dict "hub" $part.hubToken "service" $part.serviceToken }}
{{- if $token.secret }}
- name: {{ $name }}-token
  mountPath: /var/run/secrets/weightfs/{{ $name }}
  readOnly: true
{{- end }}
{{- end }}
{{- end }}

{{/* The volumes of these. Takes (list . "node"). */}}
{{- define "weightfs.volumes" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
- name: config
  configMap:
    name: {{ include "weightfs.fullname" $root }}-{{ index . 1 }}
- name: temporary
  emptyDir: {}
{{- range $name, $token := dict "hub" $part.hubToken "service" $part.serviceToken }}
{{- if $token.secret }}
- name: {{ $name }}-token
  secret:
    secretName: {{ $token.secret }}
    defaultMode: 0440
    items: [{key: {{ $token.key | quote }}, path: token}]
{{- end }}
{{- end }}
{{- end }}

{{/* Ports of both, and how the kubelet sees that it serves. No probe asks the Hub. */}}
{{- define "weightfs.ports" -}}
ports:
  - name: grpc
    containerPort: 8001
  {{- if .Values.metrics.enabled }}
  - name: metrics
    containerPort: {{ .Values.metrics.port }}
  {{- end }}
# A database that has to be checked after a crash takes its time.
startupProbe:
  grpc: {port: 8001}
  periodSeconds: 2
  failureThreshold: 300
readinessProbe:
  grpc: {port: 8001}
  periodSeconds: 10
livenessProbe:
  grpc: {port: 8001}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 6
{{- end }}
