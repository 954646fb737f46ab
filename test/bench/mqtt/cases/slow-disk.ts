/** A disk on which each fsync takes long, as an SD card's does: what one publisher gets acknowledged. */
import { buildLibrary } from '../../../faults/preloaded.ts'
import { TRAFFIC } from './traffic.ts'
import type { MqttCase } from './case.ts'

const SYNC_MS = 50

export const SLOW_DISK: Readonly<Record<string, MqttCase>> = {
  'slow-disk': slow('qos1-durable'),
  'slow-disk-w1000': slow('qos1-durable-w1000'),
}

function slow(traffic: string): MqttCase {
  return {
    about: `${traffic}, each fsync takes ${SYNC_MS} ms; mosquitto has no such mode`,
    rounds: 3,
    isFor: ({ name }) => name === 'meshlet' || name === 'before',
    begin(subject, setting) {
      const environment = [
        `LD_PRELOAD=${buildLibrary(setting.dir)}`,
        `FAULT_SYNC_MS=${SYNC_MS}`,
        `FAULT_FOLDER=${setting.dir}`,
      ]
      return TRAFFIC[traffic]!.begin(
        {
          ...subject,
          prepare: (its) => {
            const { command, args } = subject.prepare(its)
            return { command: 'env', args: [...environment, command, ...args] }
          },
        },
        setting,
      )
    },
  }
}
