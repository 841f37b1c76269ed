"""What must work before anything else: requests in, one answer each, right outputs, clean ends."""
import random
import re
import signal
import socket

from cluster import (ACTION_EVICT, ACTION_INFER, ACTION_LOAD, PATIENCE_S, RESULT_SUCCESS, Program, Totals,
                     check, free_address, run)
from wire import EVICT_ANSWER, EVICT_REQUEST, FIELDS, LZ4, Peer, decode, lz4_literals, message


def steady_state(new_cluster):
    cluster = new_cluster(workers=2)
    cluster.start_all()
    client = cluster.run_client('poisson-open-loop', 10, 200, '--duration', 3)
    check(client.sent == client.due > 300, f'{client.sent} of {client.due} requests were sent')
    check(client.answered == client.sent, f'{client.answered} of {client.sent} were answered')
    check(client.slo_percent >= 90, f'at low load only {client.slo_percent} % met their SLO')
    telemetry = cluster.stop()
    telemetry.check_requests(client.sent)
    telemetry.check_actions()
    successes = [row for row in telemetry.requests if row.result == RESULT_SUCCESS]
    check(len(successes) == client.get('success'),
          f'{len(successes)} successes in telemetry, {client.results} at the client')
    for row in telemetry.requests:
        check(row.deadline_met == (row.result == 0 and row.latency <= row.deadline),
              f'deadline_met is wrong: {row}')
        check(row.is_coldstart == (row.arrival_count == 0), f'is_coldstart is wrong: {row}')
    check({row.action_type for row in telemetry.actions} <= {ACTION_LOAD, ACTION_INFER,
                                                             ACTION_EVICT}, 'a strange action')
    check({row.worker_id for row in telemetry.of(ACTION_INFER)} == {0, 1},
          'not every worker was given work')
    carried = sum(row.batch_size for row in telemetry.of(ACTION_INFER) if row.status == 0)
    check(carried >= len(successes), f'{carried} in batches, {len(successes)} successes')


def counters_agree(new_cluster):
    """The worker's count of actions is the controller's."""
    cluster = new_cluster(workers=1)
    cluster.start_all()
    client = cluster.run_client('poisson-open-loop', 3, 200, '--duration', 2)
    telemetry = cluster.stop()
    telemetry.check_requests(client.sent)
    said = {'INFER': 0, 'LOAD': 0, 'EVICT': 0}
    for match in re.finditer(r'actions/s in [\d.]+ s: (\d+) INFER, (\d+) LOAD, (\d+) EVICT',
                             cluster.workers[0].text()):
        for name, count in zip(said, match.groups()):
            said[name] += int(count)
    for name, action_type in (('INFER', ACTION_INFER), ('LOAD', ACTION_LOAD),
                              ('EVICT', ACTION_EVICT)):
        done = sum(row.status == 0 for row in telemetry.of(action_type))
        check(done == said[name], f'{done} {name} in telemetry, {said[name]} says the worker')


def signals_end_everything(new_cluster):
    """SIGINT and SIGTERM under load: exit code 0, and nobody waits for anybody."""
    for number in (signal.SIGINT, signal.SIGTERM):
        cluster = new_cluster(workers=1)
        cluster.start_all()
        client = cluster.start_client('poisson-open-loop', 2, 100)
        client.wait_for('Now replaying')
        cluster.wait_for_telemetry(lambda telemetry: len(telemetry.requests) > 20, '20 requests')
        for program in (client, cluster.controller, cluster.workers[0]):
            program.send(number)
            check(program.wait() == 0, f'{program.name} ended with {program.exit_code}')
        totals = Totals(client)
        check(totals.answered == totals.sent, f'{totals.sent} sent, {totals.answered} answered')
    alone = Program(cluster.folder, 'controller_alone', 'controller',
                    ['INFER4', free_address(30), '--listen', free_address(101)],
                    CLOCKWORK_LOG_DIR=cluster.folder)
    cluster.programs.append(alone)
    alone.wait_for("can't be reached")
    alone.stop()


def strangers(new_cluster):
    """Who answers at an address but is no worker, or no controller: that is said once, not with each attempt."""
    cluster = new_cluster(workers=1)
    cluster.start_all()
    host, port = free_address(31).rsplit(':', 1)
    with socket.create_server((host, int(port))) as stranger:
        stranger.settimeout(PATIENCE_S)
        alone = Program(cluster.folder, 'controller_alone', 'controller',
                        ['INFER4', f'{host}:{port}', '--listen', free_address(101)],
                        CLOCKWORK_LOG_DIR=cluster.folder)
        cluster.programs.append(alone)
        for _ in range(6):
            stranger.accept()[0].close()
    alone.wait_for("can't be reached")  # now that it is gone: another cause
    alone.stop()
    check(len(re.findall('is no worker, or one of another version', alone.text())) == 1, alone.text())
    check('is lost' not in alone.text(), alone.text())
    for words in (('infer', 'resnet50_v2'), ('poisson-open-loop', 1, 10)):
        client = Program(cluster.folder, f'client_{words[0]}', 'client',
                         [cluster.worker_addresses[0], *map(str, words)])
        cluster.programs.append(client)
        check(client.wait() == 1, f'{words}: {client.exit_code}, {client.text()}')
        check(len(re.findall('is no controller or one of another version', client.text())) == 1, client.text())
        check(len(client.text().splitlines()) < 8, client.text())


def right_outputs(new_cluster):
    """Outputs come back to the request whose input they were made of, through batches."""
    for parameters in ((), ('1',)):  # generate_inputs
        cluster = new_cluster(workers=1)
        cluster.start_all('INFER4', *parameters)
        checking = cluster.run_client('comparison_experiment2', 2, 8, '--duration', 2,
                                      '--check-outputs', inputs=True)
        check(checking.get('success') > 100, f'only {checking.results}')
        check(checking.get('wrong output') == 0, f'wrong outputs: {checking.results}')
        without = cluster.run_client('comparison_experiment2', 2, 8, '--duration', 1)
        check(without.get('success') > 50, f'without inputs: {without.results}')
        telemetry = cluster.stop()
        telemetry.check_requests(checking.sent + without.sent)
        check(any(row.batch_size > 1 and row.status == 0 for row in telemetry.of(ACTION_INFER)),
              'there were no batches')


def raw_and_compressed_inputs(new_cluster):
    """The same input gives the same output however it travels, another one another output."""
    cluster = new_cluster(workers=1)
    cluster.start_all()
    # The variety with small inputs.
    client = cluster.run_client('slo-exp-1', 'cifar_wideresnet16_10', 1, 'fixed', 20, 100, 100, 2,
                                'mul', 1, '--check-outputs', inputs=True)
    check(client.get('wrong output') == 0, f'{client.results}')
    generator = random.Random(1)
    sent = client.sent
    with Peer(cluster.controller_address) as peer:
        (model_id, input_bytes, output_bytes, _, _), = peer.models()
        inputs = [generator.randbytes(input_bytes) for _ in range(8)]
        outputs = []
        for data in inputs:
            for body, encoding in ((data, 0), (lz4_literals(data), LZ4)):
                result, output = peer.infer(model_id, body, encoding, input_bytes=input_bytes)
                sent += 1
                check(result == 0 and len(output) == output_bytes,
                      f'result {result} with {len(output)} of {output_bytes} bytes')
                outputs.append(output)
        check(outputs[::2] == outputs[1::2], 'compressed inputs give other outputs than raw ones')
        check(len(set(outputs)) == len(inputs), 'different inputs give the same output')
    cluster.stop().check_requests(sent)


def evict(new_cluster):
    """A client's EVICT takes the weights off the GPUs; the next request brings them back."""
    cluster = new_cluster(workers=1)
    cluster.start_all()
    sent = cluster.run_client('simple-parametric', 1, 1, 1, 20).sent
    with Peer(cluster.controller_address) as peer:
        (model_id, *_), = peer.models()
        for evicted in (1, 0):  # the second time there is nothing to evict
            meta, _ = peer.ask(message(EVICT_REQUEST, 1, model_id), EVICT_ANSWER)
            values, _ = decode(FIELDS[EVICT_ANSWER], meta)
            check(values[1:] == [RESULT_SUCCESS, evicted], f'EVICT was answered with {values}')
        meta, _ = peer.ask(message(EVICT_REQUEST, 1, model_id + 1), EVICT_ANSWER)
        check(decode(FIELDS[EVICT_ANSWER], meta)[0][1] == 6, 'an unknown model was evicted')
        cluster.wait_for_telemetry(lambda so_far: so_far.of(ACTION_EVICT), 'the EVICT')
        check(peer.infer(model_id)[0] == RESULT_SUCCESS, 'no answer after EVICT')
    telemetry = cluster.stop()
    telemetry.check_requests(sent + 1)
    check([row.status for row in telemetry.of(ACTION_LOAD)] == [0, 0] and
          [row.status for row in telemetry.of(ACTION_EVICT)] == [0], 'not LOAD, EVICT, LOAD')
    check(sum(row.is_coldstart for row in telemetry.requests) == 2, 'not two cold starts')


if __name__ == '__main__':
    run([steady_state, counters_agree, signals_end_everything, strangers, right_outputs,
         raw_and_compressed_inputs, evict])
