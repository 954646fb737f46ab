/** `meshlet mqtt …` on the command line. */
import type { Command } from 'commander'
import type { Io } from '../io.ts'
import {
  addConnectOptions,
  addMessageOptions,
  addOutputOptions,
  addPublishOptions,
  addSubscribeOptions,
  EXIT_HELP,
  FORMAT_HELP,
} from './options.ts'
import type { PublishOptions } from './publish.ts'
import type { RequestOptions } from './request.ts'
import type { SubscribeOptions } from './subscribe.ts'

type Finish = (result: Promise<number>) => Promise<void>

export function addMqttCommands(program: Command, io: Io, done: Finish): void {
  const mqtt = program.command('mqtt').description('publish and subscribe by hand')
  addPublishOptions(
    addMessageOptions(
      addConnectOptions(mqtt.command('pub').description('publish, with the options of mosquitto_pub'), 'mqttv311'),
    ),
  )
    .addHelpText('after', EXIT_HELP)
    .action(async (o: PublishOptions) => done((await import('./publish.ts')).publish(o, io)))
  addSubscribeOptions(
    addOutputOptions(
      addConnectOptions(
        mqtt.command('sub').description('print what arrives, with the options of mosquitto_sub'),
        'mqttv311',
      ),
    ),
  )
    .addHelpText('after', `${FORMAT_HELP}\n${EXIT_HELP}`)
    .action(async (o: SubscribeOptions) => done((await import('./subscribe.ts')).subscribe(o, io)))
  addOutputOptions(
    addMessageOptions(
      addConnectOptions(
        mqtt.command('rr').description('send a request and print its response, with the options of mosquitto_rr'),
        'mqttv5',
      ),
    ),
  )
    .option('-t, --topic <topic>', 'topic of the request')
    .requiredOption('-e, --response-topic <topic>', 'where the response comes')
    .addHelpText('after', `${FORMAT_HELP}\n${EXIT_HELP}`)
    .action(async (o: RequestOptions) => done((await import('./request.ts')).request(o, io)))
}
