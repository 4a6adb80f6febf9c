{{/* Takes {root, http}: how Prometheus finds a pod without an operator. */}}
{{- define "galerna.scrape" -}}
{{- if .root.Values.metrics.scrapeAnnotations -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .http | quote }}
prometheus.io/path: /metrics
{{- end -}}
{{- end -}}

{{- define "galerna.etcdAlive" -}}
{{- if .Values.etcd.livenessPath -}}
httpGet: {path: {{ .Values.etcd.livenessPath }}, port: metrics}
{{- else -}}
tcpSocket: {port: peer}
{{- end -}}
{{- end -}}

{{/* Takes {root, component, values, name}. A single nimbus or etcd has none: it would either say nothing, or keep a node
     from ever being drained. Pods that are not ready never do. */}}
{{- define "galerna.disruption" -}}
{{- if and .values.podDisruptionBudget.enabled (or (gt (int .values.replicas) 1) (eq .component "supervisor")) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels:
    {{- include "galerna.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  {{- if ne .component "etcd" }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  {{- end }}
  selector:
    matchLabels:
      {{- include "galerna.selector" . | nindent 6 }}
{{- end }}
{{- end -}}
