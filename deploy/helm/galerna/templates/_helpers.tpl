{{/* Names and labels */}}

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
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion | toString }}
{{- end -}}

{{/* Where clients find nimbus. */}}
{{- define "galerna.nimbus" -}}
{{ include "galerna.fullname" . }}-nimbus:6627
{{- end -}}

{{/* Pods */}}

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

{{/* etcd */}}

{{/* Each member by its name where there are several, so that one which is lost is not asked again; else by the service,
     whose address stays. */}}
{{- define "galerna.endpoints" -}}
{{- $etcd := printf "%s-etcd" (include "galerna.fullname" .) -}}
{{- if not .Values.etcd.enabled -}}
{{- join "," .Values.externalEtcd.endpoints -}}
{{- else if eq (int .Values.etcd.replicas) 1 -}}
http://{{ $etcd }}:2379
{{- else -}}
{{- range $i := until (int .Values.etcd.replicas) -}}
{{ if $i }},{{ end }}http://{{ $etcd }}-{{ $i }}.{{ $etcd }}-peers:2379
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "galerna.cluster" -}}
{{- if .Values.clusterName -}}
{{- .Values.clusterName -}}
{{- else if .Values.etcd.enabled -}}
default
{{- else -}}
{{- printf "%s.%s" .Release.Namespace .Release.Name -}}
{{- end -}}
{{- end -}}

{{/* What a schema cannot say. */}}
{{- define "galerna.check" -}}
{{- with .Values.supervisor -}}
{{- if lt (int .terminationGracePeriodSeconds) (add (int .leaveWithin) 5 | int) -}}
{{- fail (printf "supervisor.terminationGracePeriodSeconds is %d: expected at least supervisor.leaveWithin (%d) and 5 more, else a supervisor is killed before its tasks have moved" (int .terminationGracePeriodSeconds) (int .leaveWithin)) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.etcd.enabled .Values.externalEtcd.endpoints -}}
{{- fail "externalEtcd.endpoints are given, and etcd.enabled is true: set etcd.enabled=false to use them" -}}
{{- end -}}
{{- if not (or .Values.etcd.enabled .Values.externalEtcd.endpoints) -}}
{{- fail "etcd.enabled is false: expected externalEtcd.endpoints" -}}
{{- end -}}
{{- if .Values.etcd.enabled -}}
{{- $name := printf "%s-etcd" (include "galerna.fullname" .) -}}
{{- with lookup "apps/v1" "StatefulSet" .Release.Namespace $name -}}
{{- if and (eq .metadata.namespace $.Release.Namespace) (ne (int .spec.replicas) (int $.Values.etcd.replicas)) -}}
{{- fail (printf "etcd.replicas is %d, and %s has %d members: a cluster of etcd does not change its size by itself; see docs/guide/kubernetes.md" (int $.Values.etcd.replicas) $name (int .spec.replicas)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $names := list -}}
{{- range .Values.topologies -}}
{{- if has .name $names -}}
{{- fail (printf "topologies: the name %s is given twice" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- if eq (empty .definition) (empty .file) -}}
{{- fail (printf "topologies: %s has %s: expected definition, the YAML itself, or file, its path in the image" .name (ternary "neither" "both" (empty .file))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
