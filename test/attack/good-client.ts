/**
 * The well-behaved: an origin, 200 requests a second through the agent to it, 200 QoS 1 messages a second from one MQTT
 * client to another. A process of its own, so that the attacker's work does not slow it. Prints a line of JSON for each
 * line that it reads: what happened since the last.
 */
import http from 'node:http'
import readline from 'node:readline'
import mqtt from 'mqtt'

const [originPort, webPort, mqttPort] = process.argv.slice(2).map(Number) as [number, number, number]
const EVERY_MS = 5
const PATIENCE_MS = 5_000
const BIG = Buffer.alloc(256 * 1024)

const seen = { httpSent: 0, httpFailed: 0, mqttSent: 0, mqttFailed: 0, smuggled: 0, why: new Map<string, number>() }
const httpMs: number[] = []
const mqttMs: number[] = []
function failed(what: 'httpFailed' | 'mqttFailed', why: string): void {
  seen[what]++
  seen.why.set(why, (seen.why.get(why) ?? 0) + 1)
}

http
  .createServer((req, res) => {
    if (req.url!.includes('smuggled') || req.url!.startsWith('/private')) seen.smuggled++
    if (req.url!.startsWith('/big')) {
      res.end(BIG)
      return
    }
    if (req.url!.startsWith('/sink')) return
    req.resume()
    res.end(`${req.method} ${req.url}`)
  })
  .listen(originPort, '127.0.0.1')

const agent = new http.Agent({ keepAlive: true, maxSockets: 20 })
let n = 0
function ask(): void {
  const url = `/good/${n++}`
  const startedMs = performance.now()
  seen.httpSent++
  let over = false
  const end = (why?: string): void => {
    if (over) return
    over = true
    if (why === undefined) httpMs.push(performance.now() - startedMs)
    else failed('httpFailed', why)
  }
  const req = http.get({ host: '127.0.0.1', port: webPort, path: url, agent, timeout: PATIENCE_MS }, (res) => {
    let body = ''
    res.on('data', (d: Buffer) => {
      body += d.toString()
    })
    res.on('end', () =>
      end(
        res.statusCode !== 200
          ? `status ${res.statusCode}`
          : body !== `GET ${url}`
            ? `the answer of another: ${body.slice(0, 50)}`
            : undefined,
      ),
    )
    res.on('error', (err) => end(err.message))
  })
  req.on('timeout', () => req.destroy(new Error('no answer in time')))
  req.on('error', (err) => end(err.message))
}

const [publisher, subscriber] = ['good-publisher', 'good-subscriber'].map((clientId) =>
  mqtt.connect(`mqtt://127.0.0.1:${mqttPort}`, { clientId, reconnectPeriod: 100 }),
) as [mqtt.MqttClient, mqtt.MqttClient]
const waiting = new Map<string, number>()
subscriber.on('connect', () => subscriber.subscribe('good/messages', { qos: 1 }))
subscriber.on('message', (_topic, payload) => {
  const id = payload.toString()
  const sentMs = waiting.get(id)
  if (sentMs === undefined) {
    failed('mqttFailed', 'a message twice, or of another')
    return
  }
  waiting.delete(id)
  mqttMs.push(performance.now() - sentMs)
})
for (const one of [publisher, subscriber]) one.on('close', () => failed('mqttFailed', 'a connection was closed'))
function publish(): void {
  const id = String(n++)
  seen.mqttSent++
  waiting.set(id, performance.now())
  publisher.publish('good/messages', id, { qos: 1 }, (err) => {
    if (err) failed('mqttFailed', err.message)
  })
}

function report(): object {
  for (const [id, sentMs] of waiting)
    if (performance.now() - sentMs > PATIENCE_MS) {
      waiting.delete(id)
      failed('mqttFailed', 'not delivered in time')
    }
  const p99 = (all: number[]): number =>
    Number((all.sort((a, b) => a - b)[Math.floor(all.length * 0.99)] ?? 0).toFixed(1))
  const told = { ...seen, why: Object.fromEntries(seen.why), httpP99Ms: p99(httpMs), mqttP99Ms: p99(mqttMs) }
  Object.assign(seen, { httpSent: 0, httpFailed: 0, mqttSent: 0, mqttFailed: 0, smuggled: 0, why: new Map() })
  httpMs.length = 0
  mqttMs.length = 0
  return told
}

let tick = 0
const startMs = performance.now()
setInterval(() => {
  for (; tick < (performance.now() - startMs) / EVERY_MS; tick++) {
    ask()
    if (subscriber.connected && publisher.connected) publish()
  }
}, EVERY_MS)
readline
  .createInterface({ input: process.stdin })
  .on('line', () => {
    console.log(JSON.stringify(report()))
  })
  .on('close', () => process.exit(0))
