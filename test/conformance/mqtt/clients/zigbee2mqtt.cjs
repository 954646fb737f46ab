/**
 * Zigbee2MQTT's own client (its Mqtt, EventBus and settings) with what its extensions would publish, for there is no
 * Zigbee adapter: node zigbee2mqtt.cjs FOLDER-OF-THE-PACKAGE BYTES-OF-THE-DEVICE-LIST. ZIGBEE2MQTT_DATA has its
 * configuration.yaml.
 */
'use strict'
const path = require('node:path')
const [, , root, bytes] = process.argv
const load = (file) => require(path.join(root, 'dist', file))
const settings = load('util/settings.js')
load('util/logger.js').default.init()
const EventBus = load('eventBus.js').default
const Mqtt = load('mqtt.js').default

async function main() {
  const eventBus = new EventBus()
  const mqtt = new Mqtt(eventBus)
  const retained = { clientOptions: { retain: true }, skipLog: true }
  const base = settings.get().mqtt.base_topic
  const discover = () =>
    mqtt.publish('light/0x01/light/config', JSON.stringify({ unique_id: '0x01', state_topic: `${base}/lamp` }), {
      clientOptions: { retain: true, qos: 1 },
      baseTopic: 'homeassistant',
      skipReceive: false,
    })
  eventBus.onMQTTMessage('test', async ({ topic, message }) => {
    console.log(JSON.stringify({ topic, bytes: message.length }))
    if (topic === `${base}/lamp/set`) await mqtt.publish('lamp', message, { clientOptions: { retain: true } })
    if (topic === `${base}/bridge/request/ping`) await mqtt.publish('bridge/response/ping', message)
    if (topic === 'homeassistant/status') await discover()
  })
  await mqtt.connect()
  await mqtt.publish('bridge/info', JSON.stringify({ version: 'test' }), retained)
  await mqtt.publish('bridge/devices', 'd'.repeat(Number(bytes)), retained)
  await mqtt.subscribe('homeassistant/status')
  await discover()
  console.log(JSON.stringify({ connected: mqtt.info }))
  process.on('SIGTERM', () => {
    void mqtt.disconnect().then(() => process.exit(0))
  })
}
void main()
