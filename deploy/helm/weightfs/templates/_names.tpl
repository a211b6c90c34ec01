{{/* What things are called, and how they are found. */}}

{{- define "weightfs.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* 50 characters, so that "-server-0" and a DaemonSet's hash still fit behind them. */}}
{{- define "weightfs.fullname" -}}
{{- $name := include "weightfs.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* Of the pods of one part; they must never change. Takes (list . "node"). */}}
{{- define "weightfs.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "weightfs.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Of an object, never of a pod: they change with every version. Takes (list . "node"). */}}
{{- define "weightfs.labels" -}}
{{- $root := index . 0 -}}
{{ include "weightfs.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Name, namespace and labels of an object. Takes (list . "node"), or (list . "server" "server-client") where the name says more. */}}
{{- define "weightfs.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "weightfs.fullname" $root }}-{{ last . }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "weightfs.labels" (list $root (index . 1)) | nindent 2 }}
{{- end }}

{{- define "weightfs.image" -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag }}
{{- end -}}
{{- end }}

{{- define "weightfs.program-image" -}}
{{- $image := .Values.image -}}
{{ include "weightfs.image" (dict "repository" $image.repository "digest" $image.digest "tag" ($image.tag | default .Chart.AppVersion)) }}
{{- end }}

{{/* Never of appVersion: an upgrade must not touch it. */}}
{{- define "weightfs.holder-image" -}}
{{- $image := .Values.holder.image -}}
{{ include "weightfs.image" (dict "repository" ($image.repository | default .Values.image.repository) "digest" $image.digest "tag" $image.tag) }}
{{- end }}

{{- define "weightfs.claim" -}}
{{ .Values.server.pvc.name | default (printf "%s-server" (include "weightfs.fullname" .)) }}
{{- end }}

{{/* Where clients find a service. Takes (list . "server"). */}}
{{- define "weightfs.url" -}}
{{- $root := index . 0 -}}
http://{{ include "weightfs.fullname" $root }}-{{ index . 1 }}.{{ $root.Release.Namespace }}.svc:8001
{{- end }}
