{{/* Names and labels. */}}

{{- define "galerna.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* What objects are named after. Kubernetes puts up to 22 characters behind it. */}}
{{- define "galerna.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Takes {root, component}: what never changes about a component's pods. Objects of all components have none. */}}
{{- define "galerna.selector" -}}
app.kubernetes.io/name: {{ include "galerna.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* Takes {root, component}. */}}
{{- define "galerna.labels" -}}
{{ include "galerna.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Takes {root, component, values}: labels and annotations of a pod. Those that change with each release of the chart
     are left out: they would restart everything. */}}
{{- define "galerna.podMetadata" -}}
labels:
  {{- include "galerna.selector" . | nindent 2 }}
  {{- with merge (dict) .values.podLabels .root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) .values.podAnnotations (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "galerna.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "galerna.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "galerna.image" -}}
{{ .Values.image.repository }}:{{ include "galerna.text" (.Values.image.tag | default .Chart.AppVersion) }}
{{- end -}}

{{/* Where clients find nimbus. */}}
{{- define "galerna.nimbus" -}}
{{ include "galerna.fullname" . }}-nimbus:6627
{{- end -}}

{{/* A value as it was written: numbers of a values file are floats to Helm, and 1000000 is 1e+06 to it. */}}
{{- define "galerna.text" -}}
{{- kindIs "string" . | ternary . (toJson .) -}}
{{- end -}}
