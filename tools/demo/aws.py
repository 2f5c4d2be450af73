"""What people and programs do with AWS in the demo: one command each. Runs on moto's own Python, which has boto3; the address is AWS_ENDPOINT_URL."""

import argparse
import pathlib
import re
import sys
import time

import boto3

OWN_ACCOUNT = "123456789012"
ROLE = re.compile(r"arn:aws:iam::(\d{12}):role/([\w+=,.@/-]+)(?![\w+=,.@/*-])")  # names in full, no patterns


def session(role_arn):
    """A session of this role, as STS gives it."""
    sts = boto3.client("sts", region_name="eu-west-1")
    credentials = sts.assume_role(RoleArn=role_arn, RoleSessionName="demo")["Credentials"]
    return boto3.Session(credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"], "eu-west-1")


def roles(arguments):
    """Makes the IAM roles that the files name: KMS refuses policies that name others."""
    named = set()
    for file in sorted(pathlib.Path(arguments.directory).glob("*.yaml")):
        named.update(ROLE.findall(file.read_text()))
    named.update(ROLE.findall(arguments.also))
    clients = {}
    for account, name in sorted(named):
        if account not in clients:
            clients[account] = (boto3 if account == OWN_ACCOUNT else session(f"arn:aws:iam::{account}:role/demo")).client("iam")
        clients[account].create_role(RoleName=name, AssumeRolePolicyDocument="{}")
    print(f"{len(named)} roles in {len(clients)} accounts")


def short(arn):
    return arn.rsplit(":", 1)[1]


def message(arguments):
    """Sends a message as the producer and receives it as the consumer."""
    text = "order 4711"
    session(arguments.producer).client("sqs").send_message(QueueUrl=arguments.url, MessageBody=text)
    consumer = session(arguments.consumer).client("sqs")
    received = consumer.receive_message(QueueUrl=arguments.url, WaitTimeSeconds=5).get("Messages", [])
    if [found["Body"] for found in received] != [text]:
        sys.exit(f"received {received} instead")
    consumer.delete_message(QueueUrl=arguments.url, ReceiptHandle=received[0]["ReceiptHandle"])
    print(f"sent by {short(arguments.producer)}, received by {short(arguments.consumer)}: {text!r}")


def encryption(sqs, url):
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["KmsMasterKeyId", "SqsManagedSseEnabled"]).get("Attributes", {})
    key = found.get("KmsMasterKeyId", "")
    return key, ("SSE-KMS " + key) if key else ("SSE-SQS" if found.get("SqsManagedSseEnabled") == "true" else "none")


def drift(arguments):
    """Takes a queue from under its key, and waits until it is under it again."""
    sqs = boto3.client("sqs", region_name="eu-west-1")
    key, _ = encryption(sqs, arguments.url)
    sqs.set_queue_attributes(QueueUrl=arguments.url, Attributes={"SqsManagedSseEnabled": "true"})
    began = time.monotonic()
    changed, shown = encryption(sqs, arguments.url)
    if changed == key:
        sys.exit("the queue is still under its key: nothing to repair")
    print(f"someone   {shown}", flush=True)
    while (now := encryption(sqs, arguments.url))[0] != key:
        if time.monotonic() - began > arguments.within:
            sys.exit(f"after {arguments.within} s still {now[1]}")
        time.sleep(0.05)
    print(f"repaired  {now[1]}, after {time.monotonic() - began:.1f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("roles")
    command.add_argument("directory")
    command.add_argument("--also", default="")
    command.set_defaults(run=roles)
    command = commands.add_parser("message")
    command.add_argument("url")
    command.add_argument("--producer", required=True)
    command.add_argument("--consumer", required=True)
    command.set_defaults(run=message)
    command = commands.add_parser("drift")
    command.add_argument("url")
    command.add_argument("--within", type=float, default=60)
    command.set_defaults(run=drift)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
