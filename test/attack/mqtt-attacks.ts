/** MQTT clients that want memory: what they ask to be kept, and what they do not read. */
import { during, KEPT, mqttConnect, mqttPublish, mqttSubscribe, wait } from './attacker.ts'
import type { Attack } from './attack.ts'

const MESSAGE = Buffer.alloc(100_000, 'x')

export const MQTT_ATTACKS: readonly Attack[] = [
  {
    name: 'mqtt: 15 subscribers that do not read, 50 MB for them',
    against: 'memory',
    async run(a, p, ms) {
      for (let i = 0; i < 15; i++) {
        const socket = await a.say(p.mqtt, mqttConnect(`idle-${i}`), mqttSubscribe(1, ['flood/#']))
        await wait(20)
        socket.pause()
      }
      const publisher = await a.say(p.mqtt, mqttConnect('flooder'))
      await during(ms, async (n) => {
        if (n < 500) await a.write(publisher, mqttPublish('flood/x', MESSAGE))
        else await wait(100)
      })
    },
  },
  {
    name: 'mqtt: 100 CONNECTs of 900 kB that do not end',
    against: 'memory',
    async run(a, p, ms) {
      const head = Buffer.concat([
        Buffer.from([0x10, 0xa0, 0xf7, 0x36]),
        Buffer.from([0, 4]),
        Buffer.from('MQTT'),
        Buffer.from([5, 0xc2, 0, 60, 0, 0, 1, 0x78, 0xff, 0xff]),
        Buffer.alloc(880_000, 'x'),
      ])
      for (let i = 0; i < 100; i++) void a.say(p.mqtt, head)
      await wait(ms)
    },
  },
  {
    name: 'mqtt: subscriptions of a kept session, without end',
    against: 'memory',
    async run(a, p, ms) {
      const socket = await a.say(p.mqtt, mqttConnect('rewriter', KEPT))
      await during(ms, (n) =>
        a.write(
          socket,
          mqttSubscribe(
            1 + (n % 60_000),
            Array.from({ length: 10 }, (_, i) => `a/${n}/${i}/${'y'.repeat(100)}`),
          ),
        ),
      )
    },
  },
  {
    name: 'mqtt: retained messages without end',
    against: 'memory',
    async run(a, p, ms) {
      const socket = await a.say(p.mqtt, mqttConnect('retainer'))
      await during(ms, async (n) => {
        await a.write(socket, mqttPublish(`retained/${n}`, Buffer.alloc(10_000, 'r'), { retain: true }))
      })
    },
  },
  {
    name: 'mqtt: sessions that nobody comes back for',
    against: 'memory',
    run: (a, p, ms) =>
      during(ms, async (n) => {
        const socket = await a.say(p.mqtt, mqttConnect(`once-${n}`, KEPT))
        await wait(1)
        socket.destroy()
      }),
  },
  {
    name: 'mqtt: a thousand filters that all match',
    against: 'memory',
    async run(a, p, ms) {
      const filters = Array.from({ length: 1_000 }, (_, i) =>
        Array.from({ length: 10 }, (__, bit) => (i & (1 << bit) ? '+' : 'x')).join('/'),
      )
      const socket = await a.say(
        p.mqtt,
        mqttConnect('overlapping'),
        ...Array.from({ length: 100 }, (_, i) => mqttSubscribe(i + 1, filters.slice(i * 10, i * 10 + 10))),
      )
      await during(ms, async () => {
        await a.write(socket, mqttPublish(Array.from({ length: 10 }, () => 'x').join('/'), Buffer.alloc(10)))
        await wait(1)
      })
    },
  },
  {
    name: 'mqtt: wills, topics and properties of the largest kind',
    against: 'memory',
    run: (a, p, ms) =>
      during(ms, async (n) => {
        const socket = await a.say(
          p.mqtt,
          mqttConnect(`big-${n % 50}`),
          mqttPublish(Array.from({ length: 100 }, () => 'y'.repeat(600)).join('/'), MESSAGE),
        )
        await wait(5)
        socket.destroy()
      }),
  },
]
