/** What the hub may ask of this device and reach through it, as a changed agent.yaml says. */
import { doNothing } from '../../core/defects/guard.ts'
import type { Configuration } from '../configuration/configuration.ts'
import type { LiveSettings } from './reloader.ts'

export function createLivePermissions(configuration: Pick<Configuration, 'permitHub'>): LiveSettings {
  return {
    settings: ['control.commands', 'control.connect'],
    prepare: async ({ control }) => ({
      commit() {
        if (control) configuration.permitHub(control)
      },
      [Symbol.dispose]: doNothing,
    }),
  }
}
