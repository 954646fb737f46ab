/** Telemetry, EnvoyFilter. */
import { object, ORDERS, OWN, type YamlCase } from './case.ts'

const telemetry = (spec: string, name = 'default', namespace = 'edge'): string =>
  object('Telemetry', namespace, name, spec)
const filter = (spec: string): string => object('EnvoyFilter', 'edge', 'mqtt', spec)
const MQTT = `name: meshlet.mqtt_proxy
      typed_config:
        "@type": type.googleapis.com/xds.type.v3.TypedStruct
        type_url: type.googleapis.com/meshlet.mqtt.v1.MqttProxy
        value: {routes: [{match: "telemetry/#", direction: up, cluster: broker}]}`
const LISTENER = `configPatches:
- applyTo: LISTENER
  match: {context: SIDECAR_OUTBOUND}
  patch:
    operation: ADD
    value:
      name: meshlet_mqtt
      address: {socket_address: {address: 127.0.0.1, port_value: 1883}}
      filter_chains:
      - filters:
        - ${MQTT.replaceAll('\n', '\n    ')}`

export const OTHERS: readonly YamlCase[] = [
  { name: 'access log', yaml: OWN + ORDERS + telemetry('accessLogging: [{providers: [{name: envoy}]}]') },
  {
    name: 'access log: of clients, with a filter',
    yaml:
      OWN +
      ORDERS +
      telemetry(
        'accessLogging: [{providers: [{name: envoy}], match: {mode: CLIENT}, filter: {expression: "response.code >= 400"}}]',
      ),
  },
  {
    name: 'access log: off for the workload',
    yaml:
      OWN +
      ORDERS +
      telemetry('accessLogging: [{providers: [{name: envoy}]}]', 'root', 'istio-system') +
      telemetry(
        'selector: {matchLabels: {app: edge}}\naccessLogging: [{disabled: true, match: {mode: SERVER}}]',
        'edge',
      ),
  },
  {
    name: 'metrics: changed',
    yaml:
      OWN +
      ORDERS +
      telemetry(
        'metrics:\n- providers: [{name: prometheus}]\n  reportingInterval: 10s\n  overrides:\n  - match: {metric: REQUEST_COUNT, mode: CLIENT}\n    tagOverrides: {a: {value: "\'x\'"}, b: {operation: REMOVE}}\n  - match: {metric: REQUEST_SIZE}\n    disabled: true\n  - match: {customMetric: own}\n    tagOverrides: {c: {operation: UPSERT, value: d}}',
      ),
  },
  {
    name: 'metrics: all changed',
    yaml: OWN + ORDERS + telemetry('metrics: [{overrides: [{tagOverrides: {destination_port: {value: "1"}}}]}]'),
  },
  {
    name: 'metrics: off',
    yaml:
      OWN +
      ORDERS +
      telemetry('metrics: [{providers: [{name: prometheus}], overrides: [{disabled: true, match: {mode: SERVER}}]}]'),
  },
  {
    name: 'metrics: off, and on for one',
    yaml:
      OWN +
      ORDERS +
      telemetry('metrics: [{overrides: [{disabled: true}]}]', 'root', 'istio-system') +
      telemetry('metrics: [{overrides: [{match: {metric: REQUEST_COUNT}, disabled: false}]}]'),
  },
  { name: 'filter: a listener for MQTT', yaml: ORDERS + filter(LISTENER) },
  {
    name: 'filter: of another workload',
    yaml: ORDERS + filter(`workloadSelector: {labels: {app: other}}\n${LISTENER}`),
  },
  {
    name: 'filter: MQTT at an inbound port',
    yaml:
      OWN +
      filter(
        `workloadSelector: {labels: {app: edge}}\nconfigPatches:\n- applyTo: NETWORK_FILTER\n  match: {context: SIDECAR_INBOUND, listener: {portNumber: 9000, filterChain: {filter: {name: envoy.filters.network.tcp_proxy}}}}\n  patch:\n    operation: REPLACE\n    value:\n      ${MQTT}`,
      ),
  },
  {
    name: 'filter: MQTT at an ingress port, explicit',
    yaml:
      object(
        'Sidecar',
        'edge',
        'edge',
        'ingress: [{port: {number: 8883, protocol: TCP, name: mqtt}, bind: 0.0.0.0, defaultEndpoint: "127.0.0.1:1883"}]',
      ) +
      filter(
        `configPatches:\n- applyTo: NETWORK_FILTER\n  match: {context: SIDECAR_INBOUND, listener: {portNumber: 8883, filterChain: {filter: {name: envoy.filters.network.tcp_proxy}}}}\n  patch:\n    operation: REPLACE\n    value:\n      ${MQTT}`,
      ),
    node: { capture: 'explicit' },
  },
]
