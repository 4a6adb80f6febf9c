{{/* What pods are made of. */}}

{{/* What all pods have in common, jobs' too. */}}
{{- define "galerna.pod" -}}
serviceAccountName: {{ include "galerna.serviceAccount" . }}
automountServiceAccountToken: false
# Else a service's name may become an option of a daemon.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- end -}}

{{/* Takes {root, component, values}: where a component's pods run. */}}
{{- define "galerna.placement" -}}
affinity:
  {{- if .values.affinity }}
  {{- toYaml .values.affinity | nindent 2 }}
  {{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "galerna.selector" . | nindent 14 }}
  {{- end }}
topologySpreadConstraints:
  {{- if .values.topologySpreadConstraints }}
  {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "galerna.selector" . | nindent 8 }}
  {{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Takes {root, port}: the three questions of Kubernetes to a daemon. */}}
{{- define "galerna.probes" -}}
{{- if .root.Values.probes.enabled -}}
startupProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- end -}}
{{- end -}}

{{/* Takes {root, values, port, http}: the environment of a daemon. */}}
{{- define "galerna.environment" -}}
{{- $root := .root -}}
- {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: GALERNA_ID, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: GALERNA_ADVERTISE, value: $(POD_IP)}
- {name: GALERNA_LISTEN, value: "0.0.0.0:{{ .port }}"}
- {name: GALERNA_HTTP, value: "0.0.0.0:{{ .http }}"}
- {name: GALERNA_DATA, value: /var/lib/galerna/data}
- {name: GALERNA_LEASE, value: {{ $root.Values.lease | quote }}}
- {name: GALERNA_CLUSTER, value: {{ include "galerna.cluster" $root | quote }}}
- {name: RUST_LOG, value: {{ $root.Values.log | quote }}}
- {name: GALERNA_ETCD, value: {{ include "galerna.endpoints" $root | quote }}}
{{- with $root.Values.externalEtcd }}
{{- if not $root.Values.etcd.enabled }}
{{- if .tls.secretName }}
{{- with .tls.ca }}
- {name: GALERNA_ETCD_CA, value: {{ printf "/etc/galerna/etcd/%s" . | quote }}}
{{- end }}
{{- with .tls.cert }}
- {name: GALERNA_ETCD_CERT, value: {{ printf "/etc/galerna/etcd/%s" . | quote }}}
{{- end }}
{{- with .tls.key }}
- {name: GALERNA_ETCD_KEY, value: {{ printf "/etc/galerna/etcd/%s" . | quote }}}
{{- end }}
{{- end }}
{{- if .auth.secretName }}
- {name: GALERNA_ETCD_USER, valueFrom: {secretKeyRef: {name: {{ .auth.secretName }}, key: {{ .auth.userKey }}}}}
- {name: GALERNA_ETCD_PASSWORD, valueFrom: {secretKeyRef: {name: {{ .auth.secretName }}, key: {{ .auth.passwordKey }}}}}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "galerna.volumeMounts" -}}
- {name: data, mountPath: /var/lib/galerna}
- {name: tmp, mountPath: /tmp}
{{- if and (not .root.Values.etcd.enabled) .root.Values.externalEtcd.tls.secretName }}
- {name: etcd-tls, mountPath: /etc/galerna/etcd, readOnly: true}
{{- end }}
{{- with .values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "galerna.volumes" -}}
- {name: tmp, emptyDir: {}}
{{- if not .values.persistence.enabled }}
- {name: data, emptyDir: {}}
{{- end }}
{{- if and (not .root.Values.etcd.enabled) .root.Values.externalEtcd.tls.secretName }}
- {name: etcd-tls, secret: {secretName: {{ .root.Values.externalEtcd.tls.secretName }}}}
{{- end }}
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Takes {root, component, values}. Labels of claims cannot change later: only those that never do. */}}
{{- define "galerna.claims" -}}
{{- with .values.persistence }}
{{- if .enabled -}}
volumeClaimTemplates:
  - metadata:
      name: data
      labels:
        {{- include "galerna.selector" $ | nindent 8 }}
      {{- with .annotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .storageClass }}
      storageClassName: {{ . | quote }}
      {{- end }}
      resources: {requests: {storage: {{ .size }}}}
{{- end }}
{{- end }}
{{- end -}}

{{/* Takes {root, http}: how Prometheus finds a pod without an operator. */}}
{{- define "galerna.scrape" -}}
{{- if .root.Values.metrics.scrapeAnnotations -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .http | quote }}
prometheus.io/path: /metrics
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

{{/* A container that talks to nimbus. */}}
{{- define "galerna.client" -}}
image: {{ include "galerna.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [galerna]
env:
  - {name: GALERNA_NIMBUS, value: {{ include "galerna.nimbus" . | quote }}}
resources:
  {{- toYaml .Values.jobResources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end -}}
