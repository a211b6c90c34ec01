{{/* Who mounts. Used by the node set's two containers and by nobody else. */}}

{{- define "weightfs.privileged" -}}
securityContext:
  privileged: true
  runAsUser: 0
  runAsGroup: 0
  readOnlyRootFilesystem: true
  {{- with .Values.node.seLinuxOptions }}
  seLinuxOptions:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
