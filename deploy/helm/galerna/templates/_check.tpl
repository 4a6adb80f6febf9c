{{/* What a schema cannot say. */}}
{{- define "galerna.check" -}}
{{- if not (regexMatch "^[a-z][-a-z0-9]*$" (include "galerna.fullname" .)) -}}
{{- fail (printf "%s begins the names of services: expected small letters, digits and -, a letter first; fullnameOverride sets another" (include "galerna.fullname" .)) -}}
{{- end -}}
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
{{- if ne (int .spec.replicas) (int $.Values.etcd.replicas) -}}
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
