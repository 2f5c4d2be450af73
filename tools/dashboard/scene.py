"""Gives every panel of the dashboard something to show: drift, refusals, throttling, queues that nothing declares, budgets. Runs on moto's own Python."""

import json
import os
import subprocess
import time
import urllib.request

import boto3

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
SQS = boto3.client("sqs", region_name="eu-west-1")


def kubectl(*arguments):
    return subprocess.run(["kubectl", *arguments], check=True, capture_output=True, text=True).stdout


def refuse(service, operation, code, times):
    """Has the proxy refuse the next calls."""
    error = {"error": {"status": 400, "code": code, "message": "refused for the dashboard"}}
    matching = {"service": service, "operation": operation}
    rule = {"matching": matching, "times": times, "effect": error}
    urllib.request.urlopen(urllib.request.Request(f"{ENDPOINT}/_proxy/inject", json.dumps(rule).encode(), method="POST")).close()


def denied(key, queue):
    """An event of CloudTrail, as EventBridge delivers it."""
    detail = {
        "eventName": "Decrypt", "eventSource": "kms.amazonaws.com", "awsRegion": "eu-west-1", "errorCode": "AccessDenied",
        "userIdentity": {"type": "AssumedRole", "arn": "arn:aws:sts::123456789012:assumed-role/stranger/session"},
        "requestParameters": {"encryptionContext": {"aws:sqs:arn": queue}}, "resources": [{"ARN": key, "accountId": "123456789012"}],
    }
    return json.dumps({"source": "aws.kms", "detail-type": "AWS API Call via CloudTrail", "account": "123456789012", "region": "eu-west-1", "detail": detail})


def main():
    status = json.loads(kubectl("-n", "acme-prod", "get", "eq", "orders", "-o", "json"))["status"]
    events = SQS.create_queue(QueueName="dashboard-events")["QueueUrl"]
    kubectl("patch", "tenant", "acme", "--type=merge", "-p", '{"spec":{"limits":{"monthlyKmsUsd":1}}}')
    for name, attributes in {"acme-legacy": {"SqsManagedSseEnabled": "true"}, "acme-open": {"SqsManagedSseEnabled": "false"}}.items():
        SQS.create_queue(QueueName=name, Attributes=attributes)
    # A series shows a rate from its second change on.
    for _ in range(6):
        refuse("kms", "GetKeyPolicy", "ThrottlingException", 4)
        SQS.send_message(QueueUrl=events, MessageBody=denied(status["key"]["arn"], status["queue"]["arn"]))
        SQS.set_queue_attributes(QueueUrl=status["queue"]["url"], Attributes={"SqsManagedSseEnabled": "true"})
        # What is put right at the first attempt was never told as not compliant.
        refuse("sqs", "SetQueueAttributes", "AccessDenied", 1)
        time.sleep(10)


main()
