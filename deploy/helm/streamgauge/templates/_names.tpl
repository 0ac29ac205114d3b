{{- define "streamgauge.name" -}}
{{- .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- /* 48: room for the role and for what Kubernetes adds to the names of pods. */}}
{{- define "streamgauge.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "streamgauge.selector" -}}
app.kubernetes.io/name: {{ include "streamgauge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "streamgauge.labels" -}}
{{ include "streamgauge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "streamgauge.roles" -}}
{{- if eq .Values.mode "embedded" -}}all{{- else -}}ingest,process,query{{- end -}}
{{- end }}
