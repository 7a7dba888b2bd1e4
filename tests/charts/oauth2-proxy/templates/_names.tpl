{{- /* GNU General Public License v3.0+ (see LICENSE) */ -}}

{{- define "standin.chart" -}}
{{ .Values.nameOverride | default .Chart.Name }}
{{- end -}}

{{- define "standin.name" -}}
{{- $base := include "standin.chart" . -}}
{{- $byRelease := ternary .Release.Name (printf "%s-%s" .Release.Name $base) (contains $base .Release.Name) -}}
{{ .Values.fullnameOverride | default $byRelease | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "standin.selector" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/name: {{ include "standin.chart" . }}
{{- end -}}

{{- define "standin.metadata" -}}
name: {{ include "standin.name" . }}
namespace: {{ .Values.namespaceOverride | default .Release.Namespace }}
labels:
  {{- include "standin.labels" . | nindent 2 }}
{{- end -}}

{{- define "standin.labels" -}}
app: {{ include "standin.chart" . }}
{{ include "standin.selector" . }}
app.kubernetes.io/component: authentication-proxy
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: {{ include "standin.chart" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.customLabels }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end -}}

{{- define "standin.account" -}}
{{ .Values.serviceAccount.name | default (ternary (include "standin.name" .) "default" .Values.serviceAccount.enabled) }}
{{- end -}}

{{- define "standin.image" -}}
{{- $registry := coalesce (tpl .Values.image.registry .) (tpl .Values.global.imageRegistry .) "quay.io" -}}
{{ $registry }}/{{ .Values.image.repository }}:{{ .Values.image.tag | default (printf "v%s" .Chart.AppVersion) }}
{{- end -}}

{{- define "standin.config" -}}
{{- if .Values.config.configFile -}}
{{ tpl .Values.config.configFile . }}
{{- else -}}
email_domains = {{ toJson .Values.config.emailDomains }}
upstreams = {{ toJson .Values.config.upstreams }}
{{- end -}}
{{- end -}}
